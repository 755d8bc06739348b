import { statSync } from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { hasCode } from "../../errors.ts";
import { isCount, isRecord, parseJson } from "../../formats/json.ts";
import { monotonicMs } from "../clock.ts";
import type { Config } from "../config.ts";
import { makeDirectory, readIfThere, writeDurably } from "../files.ts";
import { isAlive, ownIdentity, parseIdentity } from "../processes.ts";
import { makeRun } from "../run.ts";

/** An attempt that brought nothing is not made again for so long. */
const retryMs = 10 * 60_000;
/** How long the answer is waited for when another process has asked already. */
const patienceMs = 8000;
const pollMs = 100;

/**
 * What `zmcontrol -v` says: release, platform, edition and patch, on one line. It starts a JVM before
 * it answers, so the answer is kept for as long as the files from which it makes it are the same:
 * .install_history, to which every installation and patch adds lines, the script itself, and
 * zmbackupquery, by which it tells the edition. Source: zm-core-utils, src/bin/zmcontrol,
 * displayVersion.
 *
 * Of several processes one asks. It goes on when its client has lost patience, so that the next client
 * finds the answer.
 * @returns undefined where it could not be told
 */
export async function zimbraVersion(config: Config): Promise<string | undefined> {
	const cache = config.base.zimbraVersion;
	const key = installationKey(config);
	const deadline = monotonicMs() + patienceMs;
	for (;;) {
		const kept = await readKept(cache, key);
		if (kept === undefined) break;
		if (kept.state === "answered") return kept.version;
		if (monotonicMs() > deadline) return undefined;
		await sleep(pollMs);
	}
	const keep = async (facts: object) => {
		try {
			await makeDirectory(dirname(cache));
			await writeDurably(cache, `${JSON.stringify({ key, ...facts })}\n`);
		} catch {
			// On a full disk the answer is not kept, but it is still the answer.
		}
	};
	await keep({ asking: ownIdentity() });
	const version = await askZmcontrol(config);
	await keep(version === undefined ? { failedAt: Date.now() } : { version });
	return version;
}

type Kept =
	| { readonly state: "answered"; readonly version: string | undefined }
	| { readonly state: "asking" };

/** Undefined where zmcontrol has to be asked. */
async function readKept(cache: string, key: string): Promise<Kept | undefined> {
	const kept = parseJson((await readIfThere(cache)) ?? "");
	if (!isRecord(kept) || kept.key !== key) return undefined;
	const { version, failedAt, asking } = kept;
	if (typeof version === "string") return { state: "answered", version };
	if (isCount(failedAt) && Math.abs(Date.now() - failedAt) < retryMs) {
		return { state: "answered", version: undefined };
	}
	const asker = parseIdentity(asking);
	return asker !== undefined && isAlive(asker) ? { state: "asking" } : undefined;
}

/** Changes with each installation, upgrade and patch. */
function installationKey({ zimbra, settings }: Config): string {
	const [command = ""] = settings.zmcontrol_command;
	const files = [join(zimbra.home, ".install_history"), command, zimbra.backupQuery];
	return files.map(look).join(" ");
}

function look(file: string): string {
	try {
		const { ino, size, mtimeMs } = statSync(file);
		return `${ino}:${size}:${mtimeMs}`;
	} catch (error) {
		if (hasCode(error, "ENOENT", "ENOTDIR", "EACCES")) return "-";
		throw error;
	}
}

/** Its exit code means nothing: some releases exit 1 after they have answered. */
async function askZmcontrol({ settings }: Config): Promise<string | undefined> {
	const { stdout } = await makeRun(settings)([...settings.zmcontrol_command, "-v"], {
		timeoutMs: settings.command_timeout,
	});
	// Older releases print blank lines round it.
	const line = stdout.split("\n").find((each) => /^\s*Release\s+\S/.test(each));
	return line?.trim().replaceAll(/\s+/g, " ").replace(/\.$/, "");
}
