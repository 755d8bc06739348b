import { promises } from "node:fs";
import { readIfThere, writeWhole } from "./files.ts";

/**
 * Replaces a state file that others read at any moment. Not fsynced: it says what is now, and after
 * a crash nobody is to believe it.
 */
export async function publish(path: string, state: object): Promise<void> {
	const temporary = `${path}.${process.pid}.tmp`;
	try {
		await writeWhole(temporary, `${JSON.stringify(state)}\n`);
		await promises.rename(temporary, path);
	} catch (error) {
		await promises.rm(temporary, { force: true });
		throw error;
	}
}

/** The published state of that version; undefined where there is none, or none that can be read. */
export async function readPublished<S extends { version: number }>(
	path: string,
	version: S["version"],
): Promise<S | undefined> {
	const text = await readIfThere(path);
	try {
		const state = JSON.parse(text ?? "") as S;
		return state.version === version ? state : undefined;
	} catch {
		return undefined;
	}
}
