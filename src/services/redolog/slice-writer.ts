import { type FileHandle, open, rm } from "node:fs/promises";
import { setImmediate } from "node:timers/promises";
import { formatHeader, headerSize } from "../../formats/redolog/header.ts";
import type { PlannedFile } from "../../formats/replay/plan.ts";
import type { Place } from "../../formats/replay/replayed-position.ts";
import type { ReplayLog } from "../../formats/replay/scan.ts";
import { renameDurably, writeAt } from "../files.ts";

const copiedAtOnce = 1024 * 1024;

/** Lets the receiver, heartbeats and signals have their turn during a long walk. */
export const pause = (): Promise<void> => setImmediate();

/**
 * Writes a slice of a plan to `path`, from the `logs` that the plan was made over; when it returns, the
 * slice is on disk. Throws where a piece is not there any more, and what the file system throws; what
 * was begun is removed then.
 */
export async function writeSlice(
	slice: Extract<PlannedFile, { kind: "slice" }>,
	logs: readonly ReplayLog[],
	path: string,
): Promise<void> {
	const temporary = `${path}.tmp`;
	try {
		await using file = await open(temporary, "w", 0o640);
		await writeAt(file, 0, formatHeader(slice.header));
		let end = headerSize;
		for (const piece of slice.pieces) {
			await copy(piece, logs, file, end);
			end += piece.length;
		}
		await file.sync();
	} catch (error) {
		await rm(temporary, { force: true });
		throw error;
	}
	await renameDurably(temporary, path);
}

async function copy(
	piece: Place,
	logs: readonly ReplayLog[],
	to: FileHandle,
	position: number,
): Promise<void> {
	const log = logs.find(
		({ identity }) =>
			identity.sequence === piece.sequence && identity.createTime === piece.createTime,
	);
	if (log === undefined) throw new Error(`redo log ${piece.sequence} is not there any more`);
	const buffer = Buffer.allocUnsafe(Math.min(copiedAtOnce, piece.length));
	let copied = 0;
	while (copied < piece.length) {
		const part = buffer.subarray(0, Math.min(buffer.length, piece.length - copied));
		const count = log.source.read(part, piece.offset + copied);
		if (count === 0)
			throw new Error(`redo log ${piece.sequence} ends at ${piece.offset + copied}, too early`);
		await writeAt(to, position + copied, part.subarray(0, count));
		copied += count;
	}
}
