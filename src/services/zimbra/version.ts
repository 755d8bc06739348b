import { stat } from "node:fs/promises";
import { join } from "node:path";
import { hasCode } from "../../errors.ts";
import { isRecord, parseJson } from "../../formats/json.ts";
import type { Config } from "../config.ts";
import { makeDirectory, readIfThere, writeDurably } from "../files.ts";

/**
 * What `zmcontrol -v` says: release, platform, edition and patch, on one line. It starts a JVM before
 * it answers, so the answer is kept for as long as the files from which it makes it are the same:
 * .install_history, to which every installation and patch adds lines, the script itself, and
 * zmbackupquery, by which it tells the edition. Source: zm-core-utils, src/bin/zmcontrol,
 * displayVersion.
 * @returns undefined where it could not be told
 */
export async function zimbraVersion(config: Config, cache: string): Promise<string | undefined> {
	const key = await installationKey(config);
	const kept = parseJson((await readIfThere(cache)) ?? "");
	if (isRecord(kept) && kept.key === key && typeof kept.version === "string") return kept.version;
	const version = await askZmcontrol(config);
	if (version !== undefined) {
		await makeDirectory(join(cache, ".."));
		await writeDurably(cache, `${JSON.stringify({ key, version })}\n`);
	}
	return version;
}

/** Changes with each installation, upgrade and patch. */
async function installationKey({ zimbra, settings }: Config): Promise<string> {
	const [command = ""] = settings.zmcontrol_command;
	const files = [join(zimbra.home, ".install_history"), command, zimbra.backupQuery];
	return (await Promise.all(files.map(look))).join(" ");
}

async function look(file: string): Promise<string> {
	try {
		const { ino, size, mtimeMs } = await stat(file);
		return `${ino}:${size}:${mtimeMs}`;
	} catch (error) {
		if (hasCode(error, "ENOENT", "ENOTDIR", "EACCES")) return "-";
		throw error;
	}
}

/** Its exit code means nothing: some releases exit 1 after they have answered. */
async function askZmcontrol({ settings }: Config): Promise<string | undefined> {
	// Loaded only here: it is much of the start-up time of what nearly always answers from the cache.
	const { makeRun } = await import("../run.ts");
	const { stdout } = await makeRun(settings)([...settings.zmcontrol_command, "-v"], {
		timeoutMs: settings.command_timeout,
	});
	return parseZimbraVersion(stdout);
}

/** The line that names the release; older releases print blank lines round it. */
export function parseZimbraVersion(output: string): string | undefined {
	const line = output.split("\n").find((each) => /^\s*Release\s+\S/.test(each));
	return line?.trim().replaceAll(/\s+/g, " ").replace(/\.$/, "");
}
