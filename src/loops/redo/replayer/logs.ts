import type { ReplayedPosition } from "../../../formats/replay/replayed-position.ts";
import type { Config } from "../../../services/config.ts";
import { openReplayLogs, type ReplayLogs } from "../../../services/redolog/log-files.ts";
import { readProvenance } from "../../../services/redolog/provenance.ts";

/**
 * The logs as a replay from that position sees them. Of redo.log only what is on disk counts: bytes
 * behind the last flushed position may be gone after a power loss, and nothing may be executed that
 * this mirror does not have.
 */
export async function openFlushedLogs(
	config: Config,
	position: ReplayedPosition,
): Promise<ReplayLogs> {
	// Before the logs are opened: of a log that came later everything counts, once it is closed.
	const record = await readProvenance(config.zimbra.mirrorMarker);
	const opened = await openReplayLogs(config, position);
	const logs = opened.logs.map((log) => {
		if (log.closed || record === undefined) return log;
		const { sequence, createTime } = record.identity;
		const known = log.identity.sequence === sequence && log.identity.createTime === createTime;
		return { ...log, length: Math.min(log.length, known ? record.upTo : log.length) };
	});
	return { logs, [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose]() };
}
