import { join } from "node:path";
import { type LmdbMeta, metaBytes, pageSizeOffset, parseMeta } from "../../formats/lmdb/meta.ts";
import { openIfThere, readAt } from "../files.ts";
import { bootId } from "../processes.ts";
import { describeResult, type Run, type RunOptions } from "../run.ts";

/** What the program needs to know of one LMDB environment, without opening it as one. */
export type Environment = LmdbMeta & {
	/** what the transaction id belongs to: the file's inode and birth, and this boot */
	readonly source: string;
	readonly mode: number;
	readonly uid: number;
	readonly gid: number;
};

/** The only data version of LMDB 0.9, which every Zimbra up to 10.1 has. */
const dataVersion = 1;

/**
 * Reads the state of the environment in a directory, two preads and no lock: slapd's map and the
 * file are one in the page cache, so this sees each commit at once.
 */
export async function readEnvironment(directory: string): Promise<Environment> {
	const path = join(directory, "data.mdb");
	await using file = await openIfThere(path, "r");
	if (file === undefined) throw new Error(`${path} is not there: has LDAP ever run here?`);
	const { ino, birthtimeNs, mode, uid, gid } = await file.stat({ bigint: true });
	// A reader can meet a meta page while it is written; the next look finds it whole.
	for (let attempt = 0; attempt < 5; attempt++) {
		const page0 = await readAt(file, 0, metaBytes);
		const pageSize = page0.length < metaBytes ? 4096 : page0.readUInt32LE(pageSizeOffset);
		const meta = parseMeta(page0, await readAt(file, pageSize, metaBytes));
		if (meta === undefined) continue;
		if (meta.version !== dataVersion) {
			throw new Error(`${path} has LMDB data version ${meta.version}, known is ${dataVersion}`);
		}
		return {
			...meta,
			source: `${ino}.${birthtimeNs}.${bootId()}`,
			mode: Number(mode) & 0o7777,
			uid: Number(uid),
			gid: Number(gid),
		};
	}
	throw new Error(`${path} does not begin with the meta pages of an LMDB file`);
}

/** Bytes that a copy of the environment takes: up to the last page, none of the holes behind it. */
export const copySize = ({ lastPage, pageSize }: LmdbMeta): number => (lastPage + 1) * pageSize;

/** The number of entries, from slapd's own table of them. */
export async function countEntries(
	run: Run,
	directory: string,
	options: RunOptions,
): Promise<number> {
	const command = ["mdb_stat", "-s", "id2e", directory];
	const result = await run(command, options);
	const found = /^\s*Entries: (\d+)$/m.exec(result.stdout);
	if (result.exitCode !== 0 || found === null) throw new Error(describeResult(command, result));
	return Number(found[1]);
}
