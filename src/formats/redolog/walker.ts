import { type ByteSource, Cursor, CutShort, Malformed } from "./cursor.ts";
import { headerSize } from "./header.ts";
import type { Layout, Operation } from "./layout-parts.ts";
import {
	abortTxn,
	checkpoint,
	commitTxn,
	createMailbox,
	isKnown,
	newestVersion,
	operations,
	storeIncomingBlob,
} from "./layouts.ts";
import { compile, Findings, type Program, run } from "./program.ts";
import {
	type LogRecord,
	type RecordHead,
	type RecordKind,
	recordMark,
	type TransactionId,
	type WalkEnd,
} from "./record.ts";

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

export type WalkRange = {
	/** a record boundary; the end of the header if it is not given */
	readonly from?: number;
	/** nothing at or behind this offset is read; the end of the source if it is not given */
	readonly to?: number;
	/** bytes fetched by one read, for tests */
	readonly window?: number;
};

/**
 * The records of a log, one after the other, each found by the length of the one before: never by
 * searching, so that a mail body made of records is a mail body.
 *
 * Reads the source in pieces of 256 KiB, never behind `to`, and does not read bodies; takes no more
 * memory than that, whatever the bytes say. Iterate once; then `end` tells why it ended. What the
 * source throws passes through.
 */
export class LogWalk implements Iterable<LogRecord> {
	/** why the walk ended; undefined while it goes on */
	end: WalkEnd | undefined;
	/** the common part of the record at which the walk ended, where that part can be read */
	endHead: RecordHead | undefined;
	readonly #cursor: Cursor;
	readonly #found = new Findings();

	constructor(source: ByteSource, range: WalkRange = {}) {
		const { from = headerSize, to = Number.MAX_SAFE_INTEGER, window } = range;
		this.#cursor = new Cursor(source, from, to, window);
	}

	*[Symbol.iterator](): Generator<LogRecord, void> {
		for (;;) {
			const record = this.next();
			if (record === undefined) return;
			yield record;
		}
	}

	/** The next record, or undefined when the walk has ended. */
	next(): LogRecord | undefined {
		if (this.end !== undefined) return undefined;
		const offset = this.#cursor.position;
		try {
			return this.#record(offset);
		} catch (error) {
			if (error instanceof CutShort) this.end = { kind: "torn", offset };
			else if (error instanceof Malformed)
				this.end = { kind: "unreadable", offset, reason: error.message };
			else throw error;
			return undefined;
		}
	}

	#record(offset: number): LogRecord | undefined {
		const cursor = this.#cursor;
		if (cursor.available(1) === 0) {
			this.end = { kind: "clean", offset };
			return undefined;
		}
		const head = readHead(cursor);
		this.endHead = head;
		const { major, minor } = head.version;
		if (!isKnown(head.version))
			throw new Malformed(`record version ${major}.${minor}, known are 1.0 to 1.42`);
		const operation = operations.get(head.opcode);
		if (operation === undefined || operation.layouts.length === 0) {
			this.end = { kind: "unknown opcode", offset, head, named: operation !== undefined };
			return undefined;
		}
		const found = this.#found;
		const programs = programsOf(operation, head.opcode, minor);
		const layout = programs.length === 1 ? 0 : chooseLayout(programs, cursor, found);
		found.clear();
		run(programs[layout] as Program, cursor, found);
		this.endHead = undefined;
		return this.#finish(head, operation, operation.layouts[layout] as Layout);
	}

	#finish(head: RecordHead, operation: Operation, layout: Layout): LogRecord {
		const cursor = this.#cursor;
		const found = this.#found;
		// Written out: a spread doubles the time of a walk.
		const record: Mutable<LogRecord> = {
			offset: head.offset,
			opcode: head.opcode,
			version: head.version,
			timestamp: head.timestamp,
			changeId: head.changeId,
			transaction: head.transaction,
			mailboxId: head.mailboxId,
			length: cursor.position - head.offset,
			kind: kindOf(head.opcode),
			name: layout.writer ?? operation.name,
		};
		if (operation.reader === "no class") record.oddity = "not executed";
		else if (layout.oddity !== undefined) record.oddity = layout.oddity;
		switch (head.opcode) {
			case commitTxn:
			case abortTxn:
				record.endedOpcode = this.#at(cursor.position - 4, () => cursor.i32());
				return record;
			case checkpoint:
				record.activeTransactions = this.#activeTransactions();
				return record;
			case createMailbox:
				if (found.accountAt >= 0)
					record.accountId = this.#at(found.accountAt, () => cursor.text(found.accountLength));
				return record;
		}
		if (found.body !== undefined) record.body = found.body;
		if (found.pathAt >= 0 && (found.link || head.opcode === storeIncomingBlob)) {
			const path = this.#at(found.pathAt, () => cursor.text(found.pathLength));
			if (found.link) record.linkPath = path;
			else record.blobPath = path;
		}
		return record;
	}

	#activeTransactions(): TransactionId[] {
		const cursor = this.#cursor;
		const count = Math.min(this.#found.activeCount, 100_000);
		return this.#at(this.#found.activeAt, () => {
			const ids: TransactionId[] = [];
			for (let i = 0; i < count; i++) ids.push({ time: cursor.i32(), counter: cursor.i32() });
			return ids;
		});
	}

	/** Reads at an earlier place, mostly still in the window, and comes back. */
	#at<T>(offset: number, read: () => T): T {
		const back = this.#cursor.position;
		this.#cursor.position = offset;
		const value = read();
		this.#cursor.position = back;
		return value;
	}
}

function kindOf(opcode: number): RecordKind {
	switch (opcode) {
		case commitTxn:
			return "commit";
		case abortTxn:
			return "abort";
		case checkpoint:
			return "checkpoint";
		default:
			return "change";
	}
}

/**
 * Moves the cursor over the common part, which has not changed since version 1.26: that of a newer record
 * is read as well, so that its transaction is known. Throws like {@link run}.
 */
function readHead(cursor: Cursor): RecordHead {
	const offset = cursor.position;
	const seen = cursor.matches(recordMark);
	if (seen < 0) throw new Malformed(`no ${recordMark} where a record must begin`);
	if (seen < recordMark.length) throw new CutShort(recordMark.length - seen);
	cursor.position += recordMark.length;
	const major = cursor.i16();
	const minor = cursor.i16();
	if (major !== newestVersion.major || minor < 0)
		throw new Malformed(`record version ${major}.${minor}, known are 1.0 to 1.42`);
	const opcode = cursor.i32();
	const timestamp = cursor.i64();
	const changeId = cursor.i32();
	cursor.skip(4);
	const transaction = { time: cursor.i32(), counter: cursor.i32() };
	const mailboxId = minor >= 26 ? cursor.low32() : cursor.i32();
	return {
		offset,
		opcode,
		version: minor === newestVersion.minor ? newestVersion : { major, minor },
		timestamp,
		changeId,
		transaction,
		mailboxId,
	};
}

const compiled = new Map<number, readonly Program[]>();

/** The programs of an operation's layouts, made once for each opcode and version. */
function programsOf(operation: Operation, opcode: number, minor: number): readonly Program[] {
	const key = opcode * 1000 + minor;
	let made = compiled.get(key);
	if (made === undefined) {
		made = operation.layouts.map((layout) => compile(layout.fields, minor));
		compiled.set(key, made);
	}
	return made;
}

/**
 * Which of several layouts of one number is the right one: the first behind which the next record
 * stands. The search is for one exact place per layout, and the shortest is tried first, since a
 * longer one could run over a whole record and meet the next by chance.
 *
 * At the end of what is there nothing stands behind. Then it is the only layout that fits; if another
 * could be meant that needs more bytes, the record counts as cut short until more is there.
 */
function chooseLayout(layouts: readonly Program[], cursor: Cursor, found: Findings): number {
	const start = cursor.position;
	let atEnd = -1;
	let cutShort = false;
	let firstProblem: Malformed | undefined;
	try {
		for (const [index, program] of layouts.entries()) {
			cursor.position = start;
			found.clear();
			try {
				run(program, cursor, found);
			} catch (error) {
				if (error instanceof CutShort) cutShort ||= error.wanted < implausibleLength;
				else if (error instanceof Malformed) firstProblem ??= error;
				else throw error;
				continue;
			}
			const next = nextRecord(cursor);
			if (next === "stands here") return index;
			if (next === "end" && atEnd < 0) atEnd = index;
		}
	} finally {
		cursor.position = start;
	}
	if (atEnd >= 0 && !cutShort) return atEnd;
	if (cutShort) throw new CutShort(1);
	throw firstProblem ?? new Malformed("no layout of this operation has a record behind it");
}

/**
 * A layout that wants so many bytes more than there are is not the one meant: a wrong layout takes
 * other bytes for a length, and no folder or mountpoint has such a name.
 */
const implausibleLength = 64 * 1024;

/** Whether the common part of a record is at the cursor, which stays where it is. */
export function nextRecord(cursor: Cursor): "stands here" | "end" | "no" {
	const position = cursor.position;
	if (cursor.available(1) === 0) return "end";
	try {
		const head = readHead(cursor);
		return head.opcode > 0 && isKnown(head.version) ? "stands here" : "no";
	} catch (error) {
		if (error instanceof CutShort) return "end";
		if (error instanceof Malformed) return "no";
		throw error;
	} finally {
		cursor.position = position;
	}
}
