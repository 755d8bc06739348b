import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

export type Write = readonly [table: string, key: string, value: unknown];
export type Tables = Map<string, Map<string, unknown>>;

/** What the database's files hold: a snapshot and the commits after it; a torn last line never happened. */
export function readTables(directory: string): Tables {
	const tables: Tables = new Map();
	for (const name of ["ibdata", "ib_logfile"]) {
		const path = join(directory, name);
		if (!existsSync(path)) continue;
		const lines = readFileSync(path, "utf8").split("\n");
		lines.pop(); // behind the last line feed: nothing, or half a line
		for (const line of lines)
			for (const [table, key, value] of JSON.parse(line) as Write[]) {
				const rows = tables.get(table) ?? new Map<string, unknown>();
				tables.set(table, rows);
				if (value === null) rows.delete(key);
				else rows.set(key, value);
			}
	}
	return tables;
}
