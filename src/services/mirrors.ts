import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { hasCode } from "../errors.ts";
import {
	isMirrorRecordName,
	type MirrorRecord,
	parseMirrorRecord,
} from "../formats/protocol/mirror-record.ts";
import { ageOf } from "./clock.ts";
import { readIfThere } from "./files.ts";

/** Names of the records in status/mirrors/. */
export async function recordNames(directory: string): Promise<string[]> {
	const names = await readdir(directory).catch((error: unknown) => {
		if (hasCode(error, "ENOENT")) return [];
		throw error;
	});
	return names.filter(isMirrorRecordName);
}

/** Undefined where it is gone, or damaged: then nobody knows what that mirror needs. */
export const readRecord = async (path: string): Promise<MirrorRecord | undefined> =>
	parseMirrorRecord((await readIfThere(path)) ?? "");

/** ms since a mirror was last heard of. */
export const heardAge = ({ at, heardAt = at }: MirrorRecord): number => ageOf(heardAt);

/** The records of all mirrors. Throws where one is damaged. */
export async function readMirrors(directory: string): Promise<MirrorRecord[]> {
	const records: MirrorRecord[] = [];
	for (const name of await recordNames(directory)) {
		const path = join(directory, name);
		const record = await readRecord(path);
		if (record === undefined) {
			throw new Error(
				`${path} is damaged, so what that mirror has replayed is not known, and nothing was removed: it is written anew when the mirror connects; if that mirror is no more, remove the file`,
			);
		}
		records.push(record);
	}
	return records;
}
