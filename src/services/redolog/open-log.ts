import { Buffer } from "node:buffer";
import { closeSync, fstatSync, promises, readSync } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { basename, join } from "node:path";
import { hasCode, Refusal } from "../../errors.ts";
import { headerSize, type LogHeader, parseHeader } from "../../formats/redolog/header.ts";
import { parseArchiveName } from "../../formats/redolog/log-name.ts";
import { openPlainFile, openPlainFileSync, readAt } from "../files.ts";
import type { ZimbraPaths } from "../paths.ts";

/** A redo log file that is held open: it stays readable when it is renamed, moved or deleted. */
export type OpenLog = AsyncDisposable & {
	readonly file: FileHandle;
	/** the path under which it was opened */
	readonly path: string;
	readonly inode: number;
	/** as it was when the file was opened */
	readonly header: LogHeader;
};

/**
 * Opens a redo log; undefined where there is no file, or none with a whole header.
 * Throws a Refusal (not-a-file).
 */
export async function openLog(path: string): Promise<OpenLog | undefined> {
	const file = await openPlainFile(path);
	if (file === undefined) return undefined;
	const header = parseHeader(await readAt(file, 0, headerSize));
	if (header === undefined) {
		await file.close();
		return undefined;
	}
	const { ino: inode } = await file.stat();
	return { file, path, inode, header, [Symbol.asyncDispose]: () => file.close() };
}

/** Names in archive/ and their sequences, lowest first. */
export async function listArchive(
	zimbra: ZimbraPaths,
): Promise<{ name: string; sequence: number }[]> {
	const names = await promises.readdir(zimbra.archive).catch((error: unknown) => {
		if (hasCode(error, "ENOENT")) return [];
		throw error;
	});
	return names
		.flatMap((name) => {
			const parsed = parseArchiveName(name);
			return parsed === undefined ? [] : [{ name, sequence: parsed.sequence }];
		})
		.toSorted((a, b) => a.sequence - b.sequence || (a.name < b.name ? -1 : 1));
}

/**
 * Opens the log of a sequence, wherever it is: redo.log, the archive, or where an incremental
 * backup of the Network Edition has put it. After a failover there can be two of one number: the
 * create time tells, and without it the newest counts.
 * @param createTime ms; 0 where it is not known
 */
export async function findLog(
	zimbra: ZimbraPaths,
	sequence: number,
	createTime: number,
): Promise<OpenLog | undefined> {
	const wanted = (log: OpenLog) =>
		log.header.sequence === sequence && (createTime === 0 || log.header.createTime === createTime);
	// The current log first and again last: between the two looks it may have been rolled over.
	for (const look of [openCurrent, openArchived, openCurrent, openFromBackup]) {
		const found = await look(zimbra, sequence);
		const [match] = found
			.filter(wanted)
			.toSorted((a, b) => b.header.createTime - a.header.createTime);
		for (const log of found) if (log !== match) await log.file.close();
		if (match !== undefined) return match;
	}
	return undefined;
}

async function openCurrent(zimbra: ZimbraPaths): Promise<OpenLog[]> {
	const log = await openLog(zimbra.currentLog);
	return log === undefined ? [] : [log];
}

async function openArchived(zimbra: ZimbraPaths, sequence: number): Promise<OpenLog[]> {
	const names = (await listArchive(zimbra)).filter((entry) => entry.sequence === sequence);
	const logs: OpenLog[] = [];
	let odd: Refusal | undefined;
	for (const { name } of names) {
		const log = await openLog(join(zimbra.archive, name)).catch((error: unknown) => {
			passOverOdd(error);
			odd = error;
		});
		if (log !== undefined) logs.push(log);
	}
	if (logs.length === 0 && odd !== undefined) throw odd;
	return logs;
}

async function openFromBackup(zimbra: ZimbraPaths, sequence: number): Promise<OpenLog[]> {
	const found: OpenLog[] = [];
	for await (const path of filesBelow(zimbra.backup, sessionDepth)) {
		if (parseArchiveName(basename(path))?.sequence !== sequence) continue;
		const log = await openLog(path).catch((error: unknown) => passOverOdd(error));
		if (log === undefined) continue;
		// A copy may be under way: only a closed log of full length is whole.
		const { size } = await log.file.stat();
		if (!log.header.open && log.header.fileSize === size) found.push(log);
		else await log.file.close();
	}
	return found;
}

/** Something else under such a name hides none of the logs. */
function passOverOdd(error: unknown): asserts error is Refusal {
	if (!(error instanceof Refusal)) throw error;
}

/** A session's logs are in sessions/LABEL/redologs; deeper down a full backup has a folder for each account. */
const sessionDepth = 3;

/** A folder that may not be read (lost+found), or has just gone, hides none of the others. */
async function* filesBelow(directory: string, depth: number): AsyncGenerator<string> {
	const entries = await promises.readdir(directory, { withFileTypes: true }).catch(() => []);
	for (const entry of entries) {
		const path = join(directory, entry.name);
		if (!entry.isDirectory()) yield path;
		else if (depth > 0) yield* filesBelow(path, depth - 1);
	}
}

/**
 * Where the live log ends; undefined in the moment of a rollover in which there is no redo.log. Read at
 * once, like a small file: it is asked at each connection and with each heartbeat.
 */
export async function endOfLog(
	zimbra: ZimbraPaths,
): Promise<{ header: LogHeader; size: number } | undefined> {
	const file = openPlainFileSync(zimbra.currentLog);
	if (file === undefined) return undefined;
	try {
		const bytes = Buffer.allocUnsafe(headerSize);
		const header = parseHeader(bytes.subarray(0, readSync(file, bytes, 0, headerSize, 0)));
		return header && { header, size: fstatSync(file).size };
	} finally {
		closeSync(file);
	}
}

/** The inode of the current redo.log; undefined where there is none. */
export async function currentInode(zimbra: ZimbraPaths): Promise<number | undefined> {
	try {
		return (await promises.stat(zimbra.currentLog)).ino;
	} catch (error) {
		if (hasCode(error, "ENOENT")) return undefined;
		throw error;
	}
}

/** The name in archive/ that an inode bears; undefined where none does. */
export async function archiveNameOf(
	zimbra: ZimbraPaths,
	log: OpenLog,
): Promise<string | undefined> {
	for (const { name, sequence } of await listArchive(zimbra)) {
		if (sequence !== log.header.sequence) continue;
		const found = await promises.stat(join(zimbra.archive, name)).catch(() => undefined);
		if (found?.ino === log.inode) return name;
	}
	return undefined;
}
