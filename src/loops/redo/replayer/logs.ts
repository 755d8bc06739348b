import type { ReplayedPosition } from "../../../formats/replay/replayed-position.ts";
import type { Config } from "../../../services/config.ts";
import { openReplayLogs, type ReplayLogs } from "../../../services/redolog/log-files.ts";
import { readProvenance } from "../../../services/redolog/provenance.ts";
import {
	isSavedFor,
	readSavedLogs,
	type SavedLogs,
	savedPlaces,
} from "../../../services/redolog/saved-logs.ts";

/**
 * The logs as a replay from that position sees them. Of redo.log only what is on disk counts: bytes
 * behind the last flushed position may be gone after a power loss, and nothing may be executed that
 * this mirror does not have.
 */
export async function openFlushedLogs(
	config: Config,
	position: ReplayedPosition,
): Promise<ReplayLogs> {
	const saved = await readSavedLogs(config);
	if (saved !== undefined && isSavedFor(saved, position)) {
		return await openSavedLogs(config, saved, position);
	}
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

/**
 * The same where Zimbra was started here without `stop`: it writes behind what was received, and moves
 * the logs. Only what was received is there for a replay, and never as a whole file.
 */
export async function openSavedLogs(
	config: Config,
	{ identity, upTo, end = upTo }: SavedLogs,
	position: ReplayedPosition,
): Promise<ReplayLogs> {
	const opened = await openReplayLogs({ zimbra: savedPlaces(config) }, position);
	const logs = opened.logs.map((log) => {
		const last = log.identity.sequence === identity.sequence;
		return { ...log, verified: false, length: last ? Math.min(log.length, end) : log.length };
	});
	return { logs, [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose]() };
}
