import { promises } from "node:fs";
import { join } from "node:path";
import { hasCode } from "../errors.ts";
import { isCount, isRecord, parseJson } from "../formats/json.ts";
import type { KeptCount } from "../formats/status-report.ts";
import { readIfThere } from "./files.ts";

/** `run`: the token of the replay run */
export type KeptLot = KeptCount & { readonly run: string };

/**
 * What the lots in status/failed are about; a directory without a whole summary is none. Throws where they
 * cannot be read: that is not "none".
 */
export async function readKeptLots(directory: string): Promise<KeptLot[]> {
	const names = await promises.readdir(directory).catch((error: unknown): string[] => {
		if (hasCode(error, "ENOENT")) return [];
		throw error;
	});
	const lots = names.map(async (name): Promise<KeptLot[]> => {
		const text = await readIfThere(join(directory, name, "summary.json"));
		const summary = parseJson(text ?? "");
		if (!isRecord(summary) || summary.version !== 1) return [];
		const { kind, count, at, run } = summary;
		if (typeof run !== "string") return [];
		return typeof kind === "string" && isCount(count) && isCount(at)
			? [{ kind, count, at, run }]
			: [];
	});
	return (await Promise.all(lots)).flat();
}
