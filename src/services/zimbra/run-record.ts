import {
	formatRunRecord,
	parseRunRecord,
	type RunRecord,
} from "../../formats/replay/run-record.ts";
import type { Config } from "../config.ts";
import { readIfThere, writeDurably } from "../files.ts";

/** The record of the run that is under way, or whose end needs a decision. */
export async function readRunRecord({ base }: Config): Promise<RunRecord | undefined> {
	const text = await readIfThere(base.replayRun);
	if (text === undefined) return undefined;
	const record = parseRunRecord(text);
	if (record === undefined) {
		throw new Error(
			`${base.replayRun} cannot be read: whether a replay run was under way is not known; look into ${base.slices} for what it was given, then move the file to another place`,
		);
	}
	return record;
}

export async function writeRunRecord({ base }: Config, record: RunRecord): Promise<void> {
	await writeDurably(base.replayRun, formatRunRecord(record));
}
