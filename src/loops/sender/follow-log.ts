import { basename } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { batches, nextBatch } from "../../formats/protocol/batch.ts";
import { encodeData, encodeFromLive } from "../../formats/protocol/messages.ts";
import { headerSize, parseHeader } from "../../formats/redolog/header.ts";
import { formatArchiveName, parseArchiveName } from "../../formats/redolog/log-name.ts";
import { readAt } from "../../services/files.ts";
import type { ZimbraPaths } from "../../services/paths.ts";
import { archiveNameOf, currentInode } from "../../services/redolog/open-log.ts";
import type { Wake } from "../../services/wake.ts";
import type { SentLog } from "./sent-log.ts";
import type { StreamWriter } from "./stream-writer.ts";

/**
 * A log that bears an archive name, but whose size is not what its header says, has ended all the
 * same when it has not changed for so long: nobody will write to it any more.
 */
const disagreementMs = 5000;

export type FollowOptions = {
	readonly zimbra: ZimbraPaths;
	readonly writer: StreamWriter;
	readonly wake: Wake;
	readonly signal: AbortSignal;
};

/**
 * Sends one log from where the mirror stands to its end, as it grows, and returns when it has been
 * closed and archived.
 */
export async function followLog(
	sent: SentLog,
	headerSent: Buffer | undefined,
	{ zimbra, writer, wake, signal }: FollowOptions,
): Promise<void> {
	const { log } = sent;
	let header = headerSent;
	let endedSince: number | undefined;
	let batch = batches.smallest;
	for (;;) {
		// Whether it has ended is asked before its size: what is then there is all there will be.
		const end = await endOf(zimbra, sent);
		const now = await readAt(log.file, 0, headerSize);
		const rewritten = header?.equals(now) !== true;
		if (rewritten && parseHeader(now) !== undefined) {
			await writer.write(encodeFromLive({ kind: "header", header: now }), signal);
			header = now;
		}
		const { size } = await log.file.stat();
		const cut = await sent.findCut(size, rewritten);
		if (cut !== undefined) {
			await sent.cut(cut, signal);
			await writer.write(encodeFromLive({ kind: "truncate", offset: cut }), signal);
		}
		let grew = cut !== undefined;
		while (sent.offset < size) {
			const bytes = await readAt(log.file, sent.offset, Math.min(batch, size - sent.offset));
			if (bytes.length === 0) break;
			const began = performance.now();
			await writer.write(encodeData(sent.offset, bytes), signal);
			batch = nextBatch(batch, performance.now() - began);
			await sent.add(bytes);
			grew = true;
		}
		if (rewritten || grew) await writer.flush(signal);
		if (grew) endedSince = undefined;
		else if (end !== undefined && !rewritten) {
			endedSince ??= performance.now();
			const agrees = parseHeader(now)?.fileSize === size && sent.offset === size;
			if (agrees || performance.now() - endedSince > disagreementMs) {
				const digest = sent.digest();
				await writer.write(
					encodeFromLive({ kind: "end", size: sent.offset, digest, archiveName: end, header: now }),
					signal,
				);
				await writer.flush(signal);
				return;
			}
			await sleep(20, undefined, { signal });
		}
		if (end === undefined && !grew) await wake.wait(signal);
		signal.throwIfAborted();
	}
}

/**
 * The archive name of a log that has ended, undefined while it has not: it bears one, or it is no
 * longer redo.log and another file is. A closed header alone means nothing: after a crash there the
 * same file grows again.
 */
async function endOf(zimbra: ZimbraPaths, { log }: SentLog): Promise<string | undefined> {
	const current = await currentInode(zimbra);
	if (current === log.inode) return undefined;
	const archived = await archiveNameOf(zimbra, log);
	if (archived !== undefined) return archived;
	// Deleted at the rollover, or moved on by an incremental backup. While there is no redo.log at
	// all, the rename into the archive may still be to come.
	if (current === undefined) return undefined;
	const name = basename(log.path);
	if (parseArchiveName(name) !== undefined) return name;
	const header = parseHeader(await readAt(log.file, 0, headerSize)) ?? log.header;
	return formatArchiveName(header.sequence, header.lastOperationTime || header.createTime);
}
