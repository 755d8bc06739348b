import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { RunRecord } from "../../../formats/replay/run-record.ts";
import type { Config } from "../../../services/config.ts";
import { isThere, makeDirectory } from "../../../services/files.ts";
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
	const lots = await listKept(config);
	const atRisk = lots.filter(({ kind }) => kind === "at risk").map(({ run }) => run);
	for (const token of names) {
		if (token === recorded?.token || atRisk.includes(token)) continue;
		const directory = join(config.base.slices, token);
		// Without output it never ran: what was kept back from it comes again.
		if (!(await isThere(join(directory, "stdout")))) await forget(config, token, keptBack);
		await rm(directory, { recursive: true, force: true });
	}
}
