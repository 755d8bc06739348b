import { type ByteSource, Cursor } from "../redolog/cursor.ts";
import { type LogRecord, type RecordHead, recordMark } from "../redolog/record.ts";
import { LogWalk } from "../redolog/walker.ts";
import type { Place } from "./replayed-position.ts";
import type { ReplayState } from "./state.ts";

/**
 * Takes in what can be told of a gap: bytes of the log that cannot be walked. Behind the record at which
 * the walk ended, others may stand. Whatever began there and is committed behind the gap, also in a later
 * replay, needs its change record then, and its alone: what is given twice can be executed twice.
 * @param head the common part of the first record, where it can be read
 */
export function takeGap(
	source: ByteSource,
	gap: Place,
	head: RecordHead | undefined,
	state: ReplayState,
): void {
	const end = gap.offset + gap.length;
	const placeAt = (offset: number, to: number): Place => ({ ...gap, offset, length: to - offset });
	let last = head && { head, offset: gap.offset };
	for (const { offset, head: next, record } of hiddenIn(source, gap.offset + 1, end, head)) {
		if (last !== undefined) state.takeUnwalkable(last.head, placeAt(last.offset, offset));
		last = next && { head: next, offset };
		if (record !== undefined) state.takeHidden(record, placeAt(offset, offset + record.length));
	}
	if (last !== undefined) state.takeUnwalkable(last.head, placeAt(last.offset, end));
}

/** What may be a record of which all can be read, or the common part alone. */
type Hidden = {
	readonly offset: number;
	readonly record?: LogRecord;
	readonly head?: RecordHead;
};

/** Few of the records are long, and bodies are skipped. */
const smallWindow = 16 * 1024;

/**
 * What reads as a record, wherever its mark stands; the bytes of one are not searched for others. A mail
 * may hold such bytes too: where the first record tells of which start of the server it is, one of another
 * start is none, since a log begins anew with each.
 */
function* hiddenIn(
	source: ByteSource,
	from: number,
	to: number,
	first: RecordHead | undefined,
): Generator<Hidden, void> {
	const cursor = new Cursor(source, from, to);
	const belongs = ({ transaction, opcode }: RecordHead) =>
		opcode > 0 && (first === undefined || transaction.time === first.transaction.time);
	for (;;) {
		const seen = cursor.matches(recordMark);
		if (seen >= 0 && seen < recordMark.length) return;
		const offset = cursor.position;
		cursor.position++;
		if (seen < recordMark.length) continue;
		const walk = new LogWalk(source, { from: offset, to, window: smallWindow });
		const record = walk.next();
		if (record !== undefined && belongs(record)) {
			yield { offset, record };
			cursor.position = offset + record.length;
		} else if (walk.endHead !== undefined && belongs(walk.endHead)) {
			yield { offset, head: walk.endHead };
		}
	}
}
