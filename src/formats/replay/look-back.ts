import type { Position } from "../redolog/position.ts";
import { formatTransaction } from "../redolog/record.ts";
import { LogWalk } from "../redolog/walker.ts";
import type { Place, StoredBlob } from "./replayed-position.ts";
import { placeIn, type ReplayLog, type ReplayRange } from "./scan.ts";

/**
 * The newest stored blob of each path that was committed before `upTo`, in that log and the ones
 * before it that are still there, the newest log first. Ends when all are found. What cannot be
 * walked ends the search in that log.
 */
export async function findBlobs(
	range: ReplayRange,
	paths: ReadonlySet<string>,
	pause: () => Promise<void>,
	upTo: Position = { sequence: range.from.log.sequence, offset: range.from.offset },
): Promise<Map<string, StoredBlob>> {
	const { sequence, createTime } = range.from.log;
	const found = new Map<string, StoredBlob>();
	const missing = new Set(paths);
	const earlier = range.logs.filter(
		({ identity }) =>
			identity.sequence <= upTo.sequence &&
			(identity.sequence !== sequence || identity.createTime === createTime),
	);
	for (const log of earlier.toReversed()) {
		if (missing.size === 0) break;
		const to = log.identity.sequence === upTo.sequence ? upTo.offset : log.length;
		for (const blob of await blobsIn(log, to, missing, pause)) {
			// A later one of the same path in the same log replaces the one before.
			found.set(blob.path, blob);
		}
		for (const path of found.keys()) missing.delete(path);
	}
	return found;
}

async function blobsIn(
	log: ReplayLog,
	to: number,
	paths: ReadonlySet<string>,
	pause: () => Promise<void>,
): Promise<StoredBlob[]> {
	const blobs: StoredBlob[] = [];
	const open = new Map<string, { path: string; change: Place }>();
	let count = 0;
	for (const record of new LogWalk(log.source, { to: Math.min(to, log.length) })) {
		if (++count % 4096 === 0) await pause();
		const path = record.blobPath;
		if (path === undefined && record.endedOpcode === undefined) continue;
		const id = formatTransaction(record.transaction);
		const place = placeIn(log, record.offset, record.length);
		if (path !== undefined) {
			if (paths.has(path)) open.set(id, { path, change: place });
			continue;
		}
		const blob = open.get(id);
		open.delete(id);
		if (blob !== undefined && record.kind === "commit")
			blobs.push({ ...blob, commit: place, timestamp: record.timestamp });
	}
	return blobs;
}
