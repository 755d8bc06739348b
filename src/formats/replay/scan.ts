import type { ByteSource } from "../redolog/cursor.ts";
import { headerSize, type LogHeader } from "../redolog/header.ts";
import { isKnown } from "../redolog/layouts.ts";
import { type LogIdentity, type Position, sameLog } from "../redolog/position.ts";
import type { WalkEnd } from "../redolog/record.ts";
import { findResume } from "../redolog/resume.ts";
import { LogWalk } from "../redolog/walker.ts";
import { takeGap } from "./gap.ts";
import type { Place, ReplayedPosition } from "./replayed-position.ts";
import type { CommittedOperation, ReplayState } from "./state.ts";

/** A log of this mirror, as a replay sees it. */
export type ReplayLog = {
	readonly identity: LogIdentity;
	/** file name, in the archive or redo.log */
	readonly name: string;
	readonly header: LogHeader;
	readonly source: ByteSource;
	/** bytes that are there */
	readonly length: number;
	/** it is an archive: it will not grow, and the next log follows */
	readonly closed: boolean;
	/** proved identical with the live one, so that the file itself may be given to zmplayredo */
	readonly verified: boolean;
};

export type ReplayRange = {
	/** by sequence, without holes; logs before that of the position are there for searching */
	readonly logs: readonly ReplayLog[];
	readonly from: ReplayedPosition;
	/** nothing at or behind it is replayed; all that is there if it is not given */
	readonly to?: Position;
	/** committed operations for which this gives true are not given to zmplayredo */
	readonly leaveOut?: (operation: CommittedOperation) => boolean;
};

/** Where a range ends, or may go on to. */
export const endOf = ({ to }: ReplayRange): Position =>
	to ?? { sequence: Number.POSITIVE_INFINITY, offset: Number.POSITIVE_INFINITY };

/** Bytes that cannot be walked. `to` is where the records go on, found by searching, or the end. */
export type Gap = {
	readonly place: Place;
	readonly reason: string;
	/** Zimbra's reader drops the rest of a file behind it if it does not know it either */
	readonly endsFile: boolean;
};

export type ScanEvent =
	| { readonly kind: "log"; readonly log: ReplayLog; readonly from: number }
	| { readonly kind: "committed"; readonly operation: CommittedOperation }
	/** bytes that must not be given to zmplayredo */
	| { readonly kind: "omit"; readonly place: Place }
	| { readonly kind: "gap"; readonly gap: Gap }
	/** up to `good` there are records, up to `to` the log is dealt with; the rest is a torn tail */
	| {
			readonly kind: "log end";
			readonly log: ReplayLog;
			readonly good: number;
			readonly to: number;
	  }
	/** now and then, so that a long scan can give way */
	| { readonly kind: "tick" };

/** Why a scan went no further. */
export type ScanEnd =
	/** all up to `to`, or all that is there; what is behind may be the beginning of a record */
	| { readonly kind: "done" }
	| { readonly kind: "log missing"; readonly sequence: number }
	/** written in a version that this program does not know: nothing of it may be misread */
	| {
			readonly kind: "log newer";
			readonly sequence: number;
			readonly version: LogHeader["version"];
	  }
	/** records that cannot be walked, in a log that still grows: they count when it is closed */
	| { readonly kind: "stuck"; readonly at: Position; readonly reason: string }
	/** the log of the position is another one than is there under its number */
	| { readonly kind: "log altered"; readonly expected: LogIdentity }
	/** the log ends before the position: the live server has cut it, see rewind.ts */
	| { readonly kind: "log shorter"; readonly length: number };

const recordsPerTick = 4096;

export const placeIn = (log: ReplayLog, offset: number, length: number): Place => ({
	sequence: log.identity.sequence,
	createTime: log.identity.createTime,
	offset,
	length,
});

/**
 * Goes over the logs from a replayed position on, and keeps `state`, made from that position, up to
 * date. Reads and yields; decides nothing.
 */
export function* scanReplay(range: ReplayRange, state: ReplayState): Generator<ScanEvent, ScanEnd> {
	const { logs, from: start, to } = range;
	const first = logs.findIndex((log) => log.identity.sequence === start.log.sequence);
	if (first < 0) return { kind: "log missing", sequence: start.log.sequence };
	let offset = start.offset;
	for (let i = first; ; i++) {
		const log = logs[i];
		const sequence = start.log.sequence + i - first;
		if (to !== undefined && sequence > to.sequence) return { kind: "done" };
		if (log === undefined) return { kind: "done" };
		if (log.identity.sequence !== sequence) return { kind: "log missing", sequence };
		const { version } = log.header;
		if (!isKnown(version)) return { kind: "log newer", sequence, version };
		if (i === first) {
			if (!sameLog(log.identity, start.log)) return { kind: "log altered", expected: start.log };
			if (log.length < offset) return { kind: "log shorter", length: log.length };
		} else {
			state.enterLog();
			offset = headerSize;
		}
		const limit = to?.sequence === sequence ? Math.min(to.offset, log.length) : log.length;
		if (limit < offset) return { kind: "done" };
		const stuck = yield* scanLog(log, offset, limit, state, range.leaveOut ?? (() => false));
		if (stuck !== undefined) return stuck;
		if (!log.closed || limit < log.length) return { kind: "done" };
	}
}

function* scanLog(
	log: ReplayLog,
	from: number,
	limit: number,
	state: ReplayState,
	leaveOut: (operation: CommittedOperation) => boolean,
): Generator<ScanEvent, ScanEnd | undefined> {
	yield { kind: "log", log, from };
	const complete = log.closed && limit === log.length;
	let offset = from;
	for (;;) {
		const walk = new LogWalk(log.source, { from: offset, to: limit });
		yield* scanRecords(log, walk, state, leaveOut);
		const end = walk.end as WalkEnd;
		if (end.kind === "clean" || end.kind === "torn") {
			// The torn tail of a log that is closed is passed over: it never becomes a record.
			yield { kind: "log end", log, good: end.offset, to: complete ? limit : end.offset };
			return undefined;
		}
		const reason = reasonOf(end);
		const resume = findResume(log.source, end.offset + 1, limit);
		if (resume === undefined && !complete) {
			yield { kind: "log end", log, good: end.offset, to: end.offset };
			const at = { sequence: log.identity.sequence, offset: end.offset };
			return { kind: "stuck", at, reason };
		}
		offset = resume ?? limit;
		const place = placeIn(log, end.offset, offset - end.offset);
		takeGap(log.source, place, walk.endHead, state);
		const endsFile = end.kind === "unknown opcode" && !end.named;
		yield { kind: "gap", gap: { place, reason, endsFile } };
	}
}

function* scanRecords(
	log: ReplayLog,
	walk: LogWalk,
	state: ReplayState,
	leaveOut: (operation: CommittedOperation) => boolean,
): Generator<ScanEvent, void> {
	let count = 0;
	for (const record of walk) {
		const place = placeIn(log, record.offset, record.length);
		// Zimbra's reader would take the beginning of the next record along with it.
		if (record.oddity === "misread over its end") yield { kind: "omit", place };
		const operation = state.take(record, place, leaveOut);
		if (operation !== undefined) {
			if (operation.fate === "left out") yield { kind: "omit", place };
			yield { kind: "committed", operation };
		}
		if (++count % recordsPerTick === 0) yield { kind: "tick" };
	}
}

function reasonOf(end: Exclude<WalkEnd, { kind: "clean" | "torn" }>): string {
	return end.kind === "unreadable" ? end.reason : `operation ${end.head.opcode} of unknown layout`;
}
