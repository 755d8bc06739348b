import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Host } from "./host.ts";
import { Database } from "./store/database.ts";
import { type ItemRow, type MailboxRow, mailboxTable } from "./store/mailbox-rows.ts";
import { readTables } from "./store/tables.ts";

export type DumpedItem = {
	readonly account: string;
	readonly mailboxId: number;
	readonly item: number;
	readonly type: number;
	readonly folder: number;
	readonly tags: readonly string[];
	readonly name?: string;
	/** of the file; undefined for what has none */
	readonly sha256?: string;
	/** the database names a file that is not there */
	readonly fileMissing?: true;
};

/** A message store, by `account/item`. */
export type StoreDump = ReadonlyMap<string, DumpedItem>;

/** Everything in a host's message store, from its database where that runs, else from its files. */
export async function dumpStore(host: Host): Promise<StoreDump> {
	const dump = new Map<string, DumpedItem>();
	const tables = await tablesOf(host);
	for (const [id, value] of tables.get(mailboxTable) ?? []) {
		const account = (value as MailboxRow).accountId;
		for (const [item, row] of tables.get(`mail_item/${id}`) ?? [])
			dump.set(
				`${account}/${item}`,
				dumped(host, account, Number(id), Number(item), row as ItemRow),
			);
	}
	return dump;
}

/** What differs, one line each; empty where the two stores are equal message by message. */
export function compareStores(expected: StoreDump, found: StoreDump): string[] {
	const differences: string[] = [];
	for (const [key, item] of expected) {
		const other = found.get(key);
		if (other === undefined) differences.push(`${key}: missing`);
		else
			for (const name of [
				"mailboxId",
				"type",
				"folder",
				"name",
				"sha256",
				"fileMissing",
				"tags",
			] as const) {
				const [mine, theirs] = [String(item[name] ?? "-"), String(other[name] ?? "-")];
				if (mine !== theirs) differences.push(`${key}: ${name} is ${theirs}, not ${mine}`);
			}
	}
	for (const key of found.keys()) if (!expected.has(key)) differences.push(`${key}: too many`);
	return differences;
}

async function tablesOf(host: Host): Promise<Map<string, Map<string, unknown>>> {
	const socket = join(host.directory, "run/mysql.sock");
	// While it starts, its files are still all there is.
	const answers = host.servicePid("mysql") !== undefined && existsSync(socket);
	if (!answers) return readTables(host.path("db/data"));
	using database = await Database.connect(socket);
	const tables = new Map<string, Map<string, unknown>>();
	for (const name of await database.tables(""))
		tables.set(name, new Map(await database.scan(name)));
	return tables;
}

function dumped(
	host: Host,
	account: string,
	mailboxId: number,
	item: number,
	{ type, folder, tags, name, blob }: ItemRow,
): DumpedItem {
	const common = { account, mailboxId, item, type, folder, tags, ...(name ? { name } : {}) };
	if (blob === undefined) return common;
	const path = host.path(blob);
	if (!existsSync(path)) return { ...common, fileMissing: true };
	return { ...common, sha256: createHash("sha256").update(readFileSync(path)).digest("hex") };
}
