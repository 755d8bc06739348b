import { promises } from "node:fs";
import { join } from "node:path";
import { hasCode } from "../errors.ts";
import { isCount, isRecord, parseJson } from "../formats/json.ts";
import type { KeptCount } from "../formats/status-report.ts";
import { readIfThere } from "./files.ts";

/** `run`: the token of the replay run */
export type KeptLot = KeptCount & { readonly run: string };

/**
 * What the lots in status/failed are about; a directory without a summary is none yet. Throws where they
 * cannot be read: that is not "none".
 */
export async function readKeptLots(directory: string): Promise<KeptLot[]> {
	const names = await promises.readdir(directory).catch((error: unknown): string[] => {
		if (hasCode(error, "ENOENT")) return [];
		throw error;
	});
	const lots = names.map(async (name): Promise<KeptLot[]> => {
		const path = join(directory, name, "summary.json");
		const text = await readIfThere(path);
		if (text === undefined) return [];
		const summary = parseJson(text);
		if (isRecord(summary) && summary.version === 1) {
			const { kind, count, at, run } = summary;
			if (typeof kind === "string" && isCount(count) && isCount(at) && typeof run === "string") {
				return [{ kind, count, at, run }];
			}
		}
		throw new Error(`${path} is damaged: operations.tsv beside it tells what was kept`);
	});
	return (await Promise.all(lots)).flat();
}
