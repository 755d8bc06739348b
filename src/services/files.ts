import {
	closeSync,
	constants,
	fstatSync,
	openSync,
	promises,
	readFileSync,
	readlinkSync,
	type Stats,
} from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { dirname } from "node:path";
import { hasCode, Refusal } from "../errors.ts";

// `promises` is taken from node:fs, which loads them when the first one is asked for: a short command
// needs none, and they take a good part of the time in which it starts.

/**
 * The text of a small file, or undefined where there is none. Read at once: to hand it to another
 * thread and back takes far longer than the reading.
 */
export async function readIfThere(path: string): Promise<string | undefined> {
	try {
		return readFileSync(path, "utf8");
	} catch (error) {
		if (hasCode(error, "ENOENT", "ENOTDIR")) return undefined;
		throw error;
	}
}

/**
 * Adds the file to what the system says of a write or an fsync: it knows an open file only, and an
 * admin who reads of a full disk has to know which.
 */
function named(error: unknown, path: string): unknown {
	if (error instanceof Error && "syscall" in error && !("path" in error)) {
		error.message += ` '${path}'`;
		Object.assign(error, { path });
	}
	return error;
}

/** Writes a whole file, in place and not fsynced. */
export async function writeWhole(
	path: string,
	content: string | Uint8Array,
	mode = 0o640,
): Promise<void> {
	await promises.writeFile(path, content, { mode }).catch((error: unknown) => {
		throw named(error, path);
	});
}

/** {@link FileHandle.datasync}, with an error that names the file. */
export async function syncData(file: FileHandle): Promise<void> {
	await file.datasync().catch((error: unknown) => {
		throw named(error, pathOf(file));
	});
}

/** Under which path the file is to be found now. Source: proc(5), /proc/PID/fd. */
const pathOf = (file: FileHandle): string => readlinkSync(`/proc/self/fd/${file.fd}`);

/**
 * Replaces a file so that after a crash at any moment either the old or the new content is there,
 * whole; when it returns, the new content is on disk.
 */
export async function writeDurably(path: string, content: string | Uint8Array): Promise<void> {
	const temporary = `${path}.${process.pid}.tmp`;
	try {
		await using file = await promises.open(temporary, "w", 0o640);
		await file.writeFile(content);
		await file.sync();
	} catch (error) {
		await promises.rm(temporary, { force: true });
		throw named(error, temporary);
	}
	await renameDurably(temporary, path);
}

/** Renames, and returns when the new name (and the loss of the old one) is on disk. */
export async function renameDurably(from: string, to: string): Promise<void> {
	await promises.rename(from, to);
	await syncDirectory(dirname(to));
	if (dirname(from) !== dirname(to)) await syncDirectory(dirname(from));
}

/** Moves a file, also to another file system; the new one is on disk before the old one is gone. */
export async function moveDurably(from: string, to: string): Promise<void> {
	try {
		await renameDurably(from, to);
	} catch (error) {
		if (!hasCode(error, "EXDEV")) throw error;
		await copyDurably(from, to);
		await promises.rm(from);
		await syncDirectory(dirname(from));
	}
}

/** Keeps a file under a second name too, also on another file system; on disk when it returns. */
export async function keepDurably(from: string, to: string): Promise<void> {
	try {
		await promises.link(from, to);
		await syncDirectory(dirname(to));
	} catch (error) {
		if (!hasCode(error, "EXDEV", "EPERM", "EMLINK", "ENOTSUP")) throw error;
		await copyDurably(from, to);
	}
}

async function copyDurably(from: string, to: string): Promise<void> {
	if (await isThere(to)) return;
	const part = `${to}.part`;
	await promises.copyFile(from, part);
	await using copy = await promises.open(part, "r");
	await copy.sync();
	await renameDurably(part, to);
}

/**
 * Removes a file that may be gone, and its directory with it. When it returns the loss is on disk, also
 * where a process that was killed had removed it.
 */
export async function removeDurably(path: string): Promise<void> {
	await promises.rm(path, { force: true });
	await syncDirectory(dirname(path)).catch((error: unknown) => {
		if (!hasCode(error, "ENOENT")) throw error;
	});
}

/** A rename or a new file is durable only when its directory is: fsync(2). */
export async function syncDirectory(path: string): Promise<void> {
	await using directory = await promises.open(path, "r");
	await directory.sync();
}

export async function makeDirectory(path: string): Promise<void> {
	await promises.mkdir(path, { recursive: true, mode: 0o750 });
}

/** Whether the path exists at all. */
export async function isThere(path: string): Promise<boolean> {
	return (await promises.stat(path).catch(() => undefined)) !== undefined;
}

/** Opens a file, or gives undefined where there is none. */
export async function openIfThere(path: string, flags: string): Promise<FileHandle | undefined> {
	try {
		return await promises.open(path, flags);
	} catch (error) {
		if (hasCode(error, "ENOENT")) return undefined;
		throw error;
	}
}

/** A link is not followed, and a FIFO not waited for. Source: open(2). */
const plainFileFlags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/**
 * Opens a file for reading that must be one; undefined where there is none. Where a link, a FIFO, a
 * directory or a device lies under that name, it throws a Refusal (not-a-file) at once.
 */
export async function openPlainFile(path: string): Promise<FileHandle | undefined> {
	let file: FileHandle | undefined;
	try {
		file = await promises.open(path, plainFileFlags);
		mustBePlain(await file.stat(), path);
		return file;
	} catch (error) {
		await file?.close();
		return absentOrOdd(error, path);
	}
}

/** The same, at once: the file descriptor. */
export function openPlainFileSync(path: string): number | undefined {
	let fd: number | undefined;
	try {
		fd = openSync(path, plainFileFlags);
		mustBePlain(fstatSync(fd), path);
		return fd;
	} catch (error) {
		if (fd !== undefined) closeSync(fd);
		return absentOrOdd(error, path);
	}
}

function mustBePlain(found: Stats, path: string): void {
	if (!found.isFile()) throw notAFile(path);
}

function absentOrOdd(error: unknown, path: string): undefined {
	if (hasCode(error, "ENOENT")) return undefined;
	// A link; a socket, or a device without a driver.
	if (hasCode(error, "ELOOP", "ENXIO")) throw notAFile(path);
	throw error;
}

const notAFile = (path: string): Refusal =>
	new Refusal(
		"not-a-file",
		`${path} is not a plain file, but a link, a FIFO, a directory or a device: it is not read`,
		`look at it: ls -l ${path}; a redo log is a plain file, and redolog/ or redolog/archive may be a link to a directory elsewhere`,
	);

/** Reads exactly `length` bytes at `position`, or fewer at the end of the file. */
export async function readAt(file: FileHandle, position: number, length: number): Promise<Buffer> {
	const buffer = Buffer.allocUnsafe(length);
	let filled = 0;
	while (filled < length) {
		const { bytesRead } = await file.read(buffer, filled, length - filled, position + filled);
		if (bytesRead === 0) break;
		filled += bytesRead;
	}
	return buffer.subarray(0, filled);
}

/** Writes all of `bytes` at `position`. */
export async function writeAt(
	file: FileHandle,
	position: number,
	bytes: Uint8Array,
): Promise<void> {
	let written = 0;
	while (written < bytes.length) {
		const result = await file
			.write(bytes, written, bytes.length - written, position + written)
			.catch((error: unknown) => {
				throw named(error, pathOf(file));
			});
		written += result.bytesWritten;
	}
}

/** What this user may still write there. */
export async function freeBytes(directory: string): Promise<number> {
	const { bavail, bsize } = await promises.statfs(directory);
	return bavail * bsize;
}
