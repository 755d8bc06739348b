import { type ByteSource, Cursor } from "./cursor.ts";
import { recordMark } from "./record.ts";
import { LogWalk, nextRecord } from "./walker.ts";

/**
 * Where the records go on behind one that cannot be walked over: the first boundary at or behind
 * `from` from which the walk reaches the end at `to`, or the next record of which only the common part
 * can be read.
 * Undefined if there is none.
 *
 * A mark that is found by searching may stand in a mail body, so a place counts only if whole
 * records follow it without a break: one if they end cleanly, two if the last is cut short. That
 * keeps out chance. It cannot keep out a body that was made to look like the end of a log, so the
 * caller must say that it has used this. Reads the bytes from `from` on at least once.
 */
export function findResume(source: ByteSource, from: number, to: number): number | undefined {
	const cursor = new Cursor(source, from, to);
	const dead = new Set<number>();
	for (;;) {
		const seen = cursor.matches(recordMark);
		if (seen >= 0 && seen < recordMark.length) return undefined;
		// A walk costs a window of its own: only where more than the mark stands here.
		if (seen === recordMark.length && nextRecord(cursor) !== "no")
			if (leadsOn(source, cursor.position, to, dead)) return cursor.position;
		cursor.position++;
	}
}

/** Offsets that are remembered not to lead on; without it a body of fake records takes hours. */
const mostDead = 1_000_000;

/** Most walks end at their first record. */
const smallWindow = 16 * 1024;

function leadsOn(source: ByteSource, from: number, to: number, dead: Set<number>): boolean {
	if (dead.has(from)) return false;
	const walk = new LogWalk(source, { from, to, window: smallWindow });
	const passed: number[] = [];
	for (const { offset } of walk) {
		if (dead.has(offset)) break;
		passed.push(offset);
	}
	if (arrives(walk, passed.length)) return true;
	for (const offset of passed) if (dead.size < mostDead) dead.add(offset);
	return false;
}

function arrives({ end, endHead }: LogWalk, count: number): boolean {
	switch (end?.kind) {
		case "clean":
			return count >= 1;
		case "torn":
			return count >= 2;
		case "unknown opcode":
			return count >= 1 || end.named;
		case "unreadable":
			return count >= 1 && endHead !== undefined;
		default:
			return false;
	}
}
