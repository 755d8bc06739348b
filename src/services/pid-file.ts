import { promises } from "node:fs";
import { readIfThere, writeDurably } from "./files.ts";
import { isAlive, type ProcessIdentity, parseIdentity } from "./processes.ts";

/**
 * A pid file: the pid in the first line, as in the original, and in the second the identity by
 * which it is believed.
 */
export async function writePidFile(path: string, process: ProcessIdentity): Promise<void> {
	await writeDurably(path, `${process.pid}\n${JSON.stringify(process)}\n`);
}

/** The living process that the pid file names; undefined without one. */
export async function readPidFile(path: string): Promise<ProcessIdentity | undefined> {
	const text = await readIfThere(path);
	const [first = "", second = ""] = (text ?? "").split("\n");
	let recorded: ProcessIdentity | undefined;
	try {
		recorded = parseIdentity(JSON.parse(second));
	} catch {
		return undefined;
	}
	if (recorded === undefined || recorded.pid !== Number(first)) return undefined;
	return isAlive(recorded) ? recorded : undefined;
}

/** Removes the pid file if it names that process, or nobody who lives. */
export async function removePidFile(path: string, pid = process.pid): Promise<void> {
	const living = await readPidFile(path);
	if (living === undefined || living.pid === pid) await promises.rm(path, { force: true });
}
