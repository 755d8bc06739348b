import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { type FileHandle, open, readdir, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { hasCode } from "../../errors.ts";
import { type LogFindings, LogReading } from "../../formats/replay/mailbox-log.ts";
import { openIfThere, readAt } from "../files.ts";

/**
 * Where mailbox.log ended at a moment, so that what came later can be read, also by another process
 * and across rotation (by rename, as log4j does it).
 */
export type LogMark = {
	/** undefined where there was no mailbox.log */
	readonly current?: {
		readonly inode: number;
		readonly offset: number;
		/** of the bytes before `offset`: an inode number is given again */
		readonly digest: string;
	};
	/** inodes of its rotated forerunners, whose words are not of this run */
	readonly older: readonly number[];
};

const digestedBytes = 4096;

/** Throws where mailbox.log is there and cannot be read: then no run could be judged. */
export async function markMailboxLog(path: string): Promise<LogMark> {
	await using file = await openIfThere(path, "r");
	const inodes = (await logFiles(path)).map(({ inode }) => inode);
	if (file === undefined) return { older: inodes };
	const { ino, size } = await file.stat();
	return {
		current: { inode: ino, offset: size, digest: await digestBefore(file, size) },
		older: inodes.filter((inode) => inode !== ino),
	};
}

/**
 * What zmplayredo told since the mark. Undefined where that cannot be known: the log is gone, was
 * emptied, was compressed meanwhile, or was never made.
 */
export async function readMailboxLog(
	path: string,
	mark: LogMark,
): Promise<LogFindings | undefined> {
	try {
		const parts = await partsSince(path, mark);
		if (parts === undefined) return undefined;
		return await read(parts);
	} catch (error) {
		if (hasCode(error, "ENOENT", "EACCES", "EIO")) return undefined;
		throw error;
	}
}

/** The same of a whole file. */
export const findingsIn = (path: string): Promise<LogFindings> => read([{ path, start: 0 }]);

/** Text that came into mailbox.log since `from`, at most the last 64 KiB of it; for telling progress. */
export async function newText(
	path: string,
	from: { readonly inode: number; readonly offset: number } | undefined,
): Promise<{ readonly at: { inode: number; offset: number }; readonly text: string } | undefined> {
	await using file = await openIfThere(path, "r").catch(() => undefined);
	if (file === undefined) return undefined;
	const { ino, size } = await file.stat();
	const begin = from?.inode === ino ? Math.min(from.offset, size) : from === undefined ? size : 0;
	const start = Math.max(begin, size - 65_536);
	const text = (await readAt(file, start, size - start)).toString("latin1");
	return { at: { inode: ino, offset: size }, text };
}

type Part = { readonly path: string; readonly start: number };

async function partsSince(path: string, { current, older }: LogMark): Promise<Part[] | undefined> {
	const files = await logFiles(path);
	const later = files
		// A new mailbox.log may have got the inode number of a forerunner that was removed meanwhile.
		.filter((each) => each.path === path || !older.includes(each.inode))
		.filter(({ inode }) => inode !== current?.inode)
		.map((each): Part => ({ path: each.path, start: 0 }));
	if (current === undefined) return later.length === 0 ? undefined : later;
	const marked = files.find(({ inode }) => inode === current.inode);
	if (marked === undefined || marked.size < current.offset) return undefined;
	await using file = await open(marked.path, "r");
	if ((await digestBefore(file, current.offset)) !== current.digest) return undefined;
	// Where it was rotated, the next one must be there: else words of this run are elsewhere.
	if (marked.path !== path && later.length === 0) return undefined;
	return [{ path: marked.path, start: current.offset }, ...later];
}

/** mailbox.log and what it was renamed to, oldest first, mailbox.log itself last. */
async function logFiles(path: string): Promise<{ path: string; inode: number; size: number }[]> {
	const found: { path: string; inode: number; size: number; time: number }[] = [];
	for (const name of await readdir(dirname(path))) {
		if (!name.startsWith(basename(path)) || name.endsWith(".gz")) continue;
		const each = join(dirname(path), name);
		const { ino, size, mtimeMs } = await stat(each);
		found.push({ path: each, inode: ino, size, time: each === path ? Infinity : mtimeMs });
	}
	return found.sort((a, b) => a.time - b.time);
}

async function digestBefore(file: FileHandle, end: number): Promise<string> {
	const start = Math.max(0, end - digestedBytes);
	const bytes = await readAt(file, start, end - start);
	return createHash("sha256").update(bytes).digest("hex");
}

async function read(parts: readonly Part[]): Promise<LogFindings> {
	const reading = new LogReading();
	for (const { path, start } of parts) {
		const lines = createInterface({
			input: createReadStream(path, { start, encoding: "utf8" }),
			crlfDelay: Number.POSITIVE_INFINITY,
		});
		for await (const line of lines) reading.line(line);
	}
	return reading.findings;
}
