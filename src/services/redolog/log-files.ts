import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { join } from "node:path";
import { Refusal } from "../../errors.ts";
import type { ByteSource } from "../../formats/redolog/cursor.ts";
import { headerSize, parseHeader } from "../../formats/redolog/header.ts";
import { currentLogName } from "../../formats/redolog/log-name.ts";
import { oldestNeeded, type ReplayedPosition } from "../../formats/replay/replayed-position.ts";
import type { ReplayLog } from "../../formats/replay/scan.ts";
import type { Config } from "../config.ts";
import { openPlainFileSync } from "../files.ts";
import { listArchive } from "./open-log.ts";

/** The redo logs of this mirror, while a replay is planned and its slices are written. */
export type ReplayLogs = AsyncDisposable & {
	/** by sequence, one for each; the current log, if there is one, is among them */
	readonly logs: readonly ReplayLog[];
};

/**
 * The bytes of an open file. Reads are synchronous: what a replay reads was written here moments ago
 * and comes from memory, and a walk of a gigabyte cannot afford a promise for each piece.
 */
export const fileSource = (fd: number): ByteSource => ({
	read: (target, offset) => readSync(fd, target, 0, target.length, offset),
});

/**
 * Opens the archive and redo.log. Files without a whole header are passed over. A file comes into the
 * archive of a mirror only when it was found identical with the live one, so that each that Zimbra
 * closed counts as verified. Where a number is there twice, after a failover, the log of `position`
 * counts, else the one that was made last.
 */
export async function openReplayLogs(
	{ zimbra }: Pick<Config, "zimbra">,
	position: ReplayedPosition,
): Promise<ReplayLogs> {
	const files: LogFile[] = [];
	const dispose = async () => {
		for (const file of files) file.close();
	};
	try {
		const bySequence = new Map<number, ReplayLog>();
		const offer = (log: ReplayLog | undefined) => {
			if (log === undefined) return;
			const other = bySequence.get(log.identity.sequence);
			if (other === undefined || counts(log, other, position))
				bySequence.set(log.identity.sequence, log);
		};
		const needed = oldestNeeded(position).sequence;
		// The current log first: if it is rolled over meanwhile, it is found again in the archive.
		const current = openAs(zimbra.currentLog, currentLogName, position, files);
		for (const { name, sequence } of await listArchive(zimbra)) {
			try {
				offer(openAs(join(zimbra.archive, name), name, position, files));
			} catch (error) {
				// What has been replayed is not needed, whatever lies there now.
				if (!(error instanceof Refusal) || sequence >= needed) throw error;
			}
		}
		offer(current);
		const logs = [...bySequence.values()].sort((a, b) => a.identity.sequence - b.identity.sequence);
		return { logs, [Symbol.asyncDispose]: dispose };
	} catch (error) {
		await dispose();
		throw error;
	}
}

/** Whether `log` counts rather than `other`, which was found before. */
function counts(log: ReplayLog, other: ReplayLog, position: ReplayedPosition): boolean {
	const { sequence, createTime } = position.log;
	if (log.identity.sequence === sequence) {
		if (other.identity.createTime === createTime) return false;
		if (log.identity.createTime === createTime) return true;
	}
	return log.identity.createTime > other.identity.createTime;
}

function openAs(
	path: string,
	name: string,
	position: ReplayedPosition,
	files: LogFile[],
): ReplayLog | undefined {
	const file = LogFile.open(path);
	if (file === undefined) return undefined;
	files.push(file);
	const bytes = new Uint8Array(headerSize);
	const header = file.read(bytes, 0) === headerSize ? parseHeader(bytes) : undefined;
	const { size } = file;
	const closed = name !== currentLogName;
	// A thousand archives are not a thousand open files: one is opened again when it is read.
	if (closed || header === undefined) file.close();
	if (header === undefined) return undefined;
	const { serverId, sequence, createTime } = header;
	return {
		identity: { serverId, sequence, createTime, timeline: position.log.timeline },
		name,
		header,
		source: file,
		length: size,
		closed,
		verified: closed && !header.open && header.fileSize === size,
	};
}

class LogFile implements ByteSource {
	/** bytes, when it was opened first */
	readonly size: number;
	readonly #path: string;
	#fd: number | undefined;

	private constructor(path: string, fd: number) {
		this.#path = path;
		this.#fd = fd;
		this.size = fstatSync(fd).size;
	}

	/** Undefined where there is no such file. */
	static open(path: string): LogFile | undefined {
		const fd = openPlainFileSync(path);
		return fd === undefined ? undefined : new LogFile(path, fd);
	}

	read(target: Uint8Array, offset: number): number {
		this.#fd ??= openSync(this.#path, "r");
		return fileSource(this.#fd).read(target, offset);
	}

	close(): void {
		if (this.#fd !== undefined) closeSync(this.#fd);
		this.#fd = undefined;
	}
}
