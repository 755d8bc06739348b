import { readSync } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { setImmediate } from "node:timers/promises";
import type { ByteSource } from "../../formats/redolog/cursor.ts";
import type { ReplayedPosition } from "../../formats/redolog/replayed-position.ts";
import type { Config } from "../../services/config.ts";
import { type LogFiles, openLogFiles } from "../../services/redolog/log-files.ts";
import { readProvenance } from "../../services/redolog/provenance.ts";

/** Lets the receiver and the heartbeats have their turn during a long walk. */
export const pause = (): Promise<void> => setImmediate();

/**
 * The logs as a replay from that position sees them. Of redo.log only what is on disk counts: bytes
 * behind the last flushed position may be gone after a power loss, and nothing may be executed that
 * this mirror does not have.
 */
export async function openReplayLogs(
	{ zimbra }: Config,
	{ log }: ReplayedPosition,
): Promise<LogFiles> {
	const record = await readProvenance(zimbra.mirrorMarker);
	const { sequence, createTime, timeline } = log;
	return await openLogFiles(zimbra, {
		timeline,
		// The receiver puts a file into the archive only when its digest is the live one's; what came
		// with the initial copy lies before the position.
		verified: (_name, header) => !header.open,
		...(record !== undefined && { currentLength: record.upTo }),
		prefer: { sequence, createTime },
	});
}

/** The bytes of an open file, for a walk. */
export const fileSource = ({ fd }: FileHandle): ByteSource => ({
	read: (target, offset) => readSync(fd, target, 0, target.length, offset),
});
