import { readlinkSync } from "node:fs";
import { basename, resolve } from "node:path";
import type { Config } from "./config.ts";
import { readPidFile } from "./pid-file.ts";
import { ownProcesses, type TableEntry } from "./process-table.ts";
import { isIntended, readRole } from "./role.ts";

/** Whether live-syncd runs on this server, or somebody is about to start it. */
export type LiveSyncdHere = "running" | "starting" | "stopped";

/** Looks at our pid files, for the script of 2011, and at a published intent to start. */
export async function findLiveSyncd(config: Config): Promise<LiveSyncdHere> {
	const { base } = config;
	for (const file of [base.pidRedo, base.pidLdap]) {
		if ((await readPidFile(file)) !== undefined) return "running";
	}
	if (findScriptOf2011(config) !== undefined) return "running";
	return isIntended(await readRole(base.role)) ? "starting" : "stopped";
}

/**
 * A live_syncd of 2011 writes bare pids, which prove nothing, but all its processes show its name. It
 * is told by where the script lies: a path that only mentions it, such as an editor's, is none.
 * Gives its pid.
 */
export function findScriptOf2011({ base, zimbra }: Config): number | undefined {
	const directories = [base.base, zimbra.home];
	const [found] = ownProcesses("at once", (entry) => {
		const script = entry.pid === process.pid ? undefined : scriptOf(entry);
		if (script === undefined) return false;
		return directories.some((directory) => script.startsWith(`${directory}/`));
	});
	return found?.pid;
}

const shells = new Set(["bash", "sh", "dash"]);

/** Absolute path of a shell script named live_syncd that this process runs. */
function scriptOf({ pid, words }: TableEntry): string | undefined {
	if (!shells.has(basename(words[0] ?? ""))) return undefined;
	const script = words.slice(1).find((word) => word !== "" && !word.startsWith("-"));
	if (script === undefined || basename(script) !== "live_syncd") return undefined;
	try {
		return resolve(readlinkSync(`/proc/${pid}/cwd`), script);
	} catch {
		return script; // ended meanwhile, or another user's
	}
}
