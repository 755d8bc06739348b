import { readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { hasCode } from "../../../errors.ts";
import type { RunRecord } from "../../../formats/replay/run-record.ts";
import type { Config } from "../../../services/config.ts";
import { failPoint } from "../../../services/fail-point.ts";
import { isThere, makeDirectory, syncDirectory } from "../../../services/files.ts";
import { forget, keptBack, listKept } from "./kept-operations.ts";

/**
 * Removes what earlier runs have left in status/slices: runs that could not be begun, or whose loop was
 * killed before or after them. Slices can be gigabytes, and each attempt writes its own. Those of a run
 * whose operations are at risk stay for as long as these are named.
 * Under the lock only; a run that is on record is left alone.
 */
export async function sweepRuns(config: Config, recorded: RunRecord | undefined): Promise<void> {
	await makeDirectory(config.base.slices);
	const names = await readdir(config.base.slices);
	if (names.every((name) => name === recorded?.token)) return;
	// Nothing is removed where nobody knows of which runs operations are at risk.
	const lots = await listKept(config).catch(() => undefined);
	if (lots === undefined) return;
	const atRisk = lots.filter(({ kind }) => kind === "at risk").map(({ run }) => run);
	for (const token of names) {
		if (token === recorded?.token || atRisk.includes(token)) continue;
		const directory = join(config.base.slices, token);
		// Without output it never ran: what was kept back from it comes again.
		if (!(await isThere(join(directory, "stdout")))) await forget(config, token, keptBack);
		await removeRun(config, token);
	}
}

/**
 * Removes what a run was given and has left behind. It loses its name first, on disk: a directory that has
 * lost its output, and nothing else yet, would be taken for that of a run that never ran.
 */
export async function removeRun({ base }: Config, token: string): Promise<void> {
	const nameless = join(base.slices, `${token}.removed`);
	try {
		await rename(join(base.slices, token), nameless);
	} catch (error) {
		if (!hasCode(error, "ENOENT")) throw error;
	}
	await syncDirectory(base.slices);
	failPoint("replay:before-removal");
	await rm(nameless, { recursive: true, force: true });
}
