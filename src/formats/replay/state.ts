import { operationName } from "../redolog/layouts.ts";
import type { LogIdentity } from "../redolog/position.ts";
import {
	formatTransaction,
	type LogRecord,
	type Oddity,
	type RecordHead,
} from "../redolog/record.ts";
import type { OpenTransaction, Place, ReplayedPosition, StoredBlob } from "./replayed-position.ts";

/**
 * What becomes of a committed operation in a replay.
 * - `executed`: by zmplayredo, at its commit record
 * - `uncertain`: its record cannot be walked; zmplayredo executes it if it knows it
 * - `not executable`: Zimbra's reader cannot read it back, so that no replay can execute it
 * - `left out`: its commit record is not given to zmplayredo
 */
export type Fate = "executed" | "uncertain" | "not executable" | "left out";

export type CommittedOperation = {
	/** `time.counter` */
	readonly id: string;
	readonly opcode: number;
	readonly name: string;
	readonly mailboxId: number;
	/** ms since the epoch, of the commit record */
	readonly timestamp: number;
	readonly change: Place;
	readonly commit: Place;
	readonly fate: Fate;
	readonly accountId?: string;
	readonly linkPath?: string;
	readonly oddity?: Oddity;
};

/**
 * A message to several recipients whose transaction for one of them was aborted. Where mailboxd died
 * between the commit in the database and the commit record, its recovery executes the message again, fails
 * since the blob that it links is stored no more, and aborts it; but the database has it.
 */
export type AbortedLink = {
	readonly id: string;
	readonly mailboxId: number;
	readonly linkPath: string;
	readonly change: Place;
	readonly abort: Place;
	/** the change record of the blob, where it is remembered */
	readonly blob: Place | undefined;
};

/**
 * How long a blob is remembered, by the timestamps in the log, ms.
 *
 * StoreIncomingBlob is committed before the first recipient's message is logged, and the links of the
 * others follow as the one delivery goes through its recipients: seconds, with locked mailboxes
 * minutes. A link that is open, or about to be logged again after a rollover, keeps its blob however
 * old that is; for any other that comes later the logs that are still there are searched.
 */
export const blobMemory = 15 * 60 * 1000;

/** No more blobs than this are remembered, the newest: bounds the size of the position file. */
const mostBlobs = 10_000;

/**
 * No more than these are held while a part of the log is gone over: after a long absence it can be
 * gigabytes of them. Then half of it is left.
 */
const mostHeld = 100_000;

/** Transactions and blobs at a place in the log, moved forward record by record. */
export class ReplayState {
	readonly open: Map<string, OpenTransaction>;
	readonly blobs: Map<string, StoredBlob>;
	readonly executed: Set<string>;
	/** transactions met as aborted */
	aborted = 0;
	/** not all that were met are among the blobs */
	forgotBlobs = false;
	/** transactions that were executed here before a cut, and that the live server aborted after it */
	readonly contradicted: string[] = [];
	/** messages that link a stored blob, and that are aborted */
	readonly abortedLinks: AbortedLink[] = [];
	#awaited: Map<string, string | undefined>;
	#newest = 0;

	constructor(position: ReplayedPosition) {
		this.open = new Map(position.open.map((one) => [one.id, one]));
		this.blobs = new Map(position.blobs.map((blob) => [blob.path, blob]));
		this.executed = new Set(position.executed);
		this.#awaited = new Map(position.awaited.map(({ id, linkPath }) => [id, linkPath]));
		this.#newest = Math.max(0, ...position.blobs.map(({ timestamp }) => timestamp));
	}

	/**
	 * The next log begins. What was open is open there only if it is logged again: Zimbra does so with all
	 * that is active, and a crash leaves nothing active.
	 */
	enterLog(): void {
		this.#awaited = new Map([...this.open.values()].map(({ id, linkPath }) => [id, linkPath]));
		this.open.clear();
	}

	/** Takes in a record; gives the operation that is committed by it, if it is. */
	take(
		record: LogRecord,
		place: Place,
		leaveOut: (operation: CommittedOperation) => boolean,
	): CommittedOperation | undefined {
		switch (record.kind) {
			case "change":
				this.#change(toOpen(record, place));
				return undefined;
			case "commit":
				return this.#commit(record, place, leaveOut);
			case "abort":
				this.#abort(formatTransaction(record.transaction), place);
				return undefined;
			case "checkpoint":
				return undefined;
		}
	}

	/**
	 * Takes in a record of which only the common part can be read, and whose extent was found by searching.
	 * A transaction that is known better stays as it is.
	 */
	takeUnwalkable(head: RecordHead, place: Place): void {
		const id = formatTransaction(head.transaction);
		const known = this.open.get(id);
		if (known !== undefined && known.unwalkable !== true) return;
		this.#change({ id, opcode: head.opcode, mailboxId: head.mailboxId, place, unwalkable: true });
	}

	/**
	 * Takes in a record that stands among bytes which cannot be walked, found by searching. It may be one,
	 * or a part of a mail that looks so: it tells of a transaction only where nothing better does.
	 */
	takeHidden(record: LogRecord, place: Place): void {
		const id = formatTransaction(record.transaction);
		const known = this.open.get(id);
		if (record.kind === "change") {
			if (known === undefined) this.#change({ ...toOpen(record, place), unwalkable: true });
		} else if (known?.unwalkable) {
			this.open.delete(id);
			const { blobPath: path, place: change } = known;
			if (record.kind === "commit" && path !== undefined && !this.blobs.has(path))
				this.blobs.set(path, { path, change, commit: place, timestamp: record.timestamp });
		}
	}

	#change(transaction: OpenTransaction): void {
		// The same transaction again is the same operation, logged again after a rollover.
		this.open.delete(transaction.id);
		this.open.set(transaction.id, transaction);
		if (this.#awaited.size > 0 && !this.#awaited.delete(transaction.id)) this.#awaited.clear();
	}

	#abort(id: string, abort: Place): void {
		this.#awaited.clear();
		const transaction = this.open.get(id);
		if (this.open.delete(id)) this.aborted++;
		if (transaction?.linkPath !== undefined) {
			const { mailboxId, linkPath, place: change } = transaction;
			const blob = this.blobs.get(linkPath)?.change;
			this.abortedLinks.push({ id, mailboxId, linkPath, change, abort, blob });
		}
		if (this.executed.delete(id)) this.contradicted.push(id);
	}

	#commit(
		record: LogRecord,
		commit: Place,
		leaveOut: (operation: CommittedOperation) => boolean,
	): CommittedOperation | undefined {
		const id = formatTransaction(record.transaction);
		if (this.#awaited.size > 0) this.#awaited.clear();
		this.#newest = Math.max(this.#newest, record.timestamp);
		const executed = this.executed.delete(id);
		const transaction = this.open.get(id);
		// Crash recovery commits again what was committed shortly before: nothing is open then.
		if (transaction === undefined) return undefined;
		this.open.delete(id);
		const { blobPath, place: change } = transaction;
		const operation = toCommitted(transaction, record.timestamp, commit);
		if (executed) operation.fate = "left out";
		if (blobPath !== undefined) {
			this.blobs.delete(blobPath);
			this.blobs.set(blobPath, { path: blobPath, change, commit, timestamp: record.timestamp });
			if (this.blobs.size > mostHeld) this.#forgetOldest();
		}
		if (!executed && leaveOut(operation)) operation.fate = "left out";
		return operation;
	}

	#forgetOldest(): void {
		const linked = this.#linkedPaths();
		let left = this.blobs.size - mostHeld / 2;
		for (const path of this.blobs.keys()) {
			if (left-- <= 0) break;
			if (!linked.has(path)) this.blobs.delete(path);
		}
		this.forgotBlobs = true;
	}

	/** By links that are open, or about to be logged again. */
	#linkedPaths(): Set<string | undefined> {
		const linked = new Set<string | undefined>(this.#awaited.values());
		for (const { linkPath } of this.open.values()) linked.add(linkPath);
		return linked;
	}

	/** The position that stands for this state. Forgets blobs that are too old to be linked. */
	at(log: LogIdentity, offset: number): ReplayedPosition {
		const linked = this.#linkedPaths();
		const young = [...this.blobs.values()].filter(
			({ timestamp }) => this.#newest - timestamp <= blobMemory,
		);
		const kept = new Set(young.slice(-mostBlobs));
		return {
			version: 1,
			log,
			offset,
			open: [...this.open.values()],
			awaited: [...this.#awaited].map(([id, linkPath]) =>
				linkPath === undefined ? { id } : { id, linkPath },
			),
			blobs: [...this.blobs.values()].filter((blob) => kept.has(blob) || linked.has(blob.path)),
			executed: [...this.executed],
		};
	}
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

// Both are made for each of millions of records; spreads of what may be there take most of the time.

function toOpen(record: LogRecord, place: Place): OpenTransaction {
	const { opcode, mailboxId } = record;
	const id = formatTransaction(record.transaction);
	const open: Mutable<OpenTransaction> = { id, opcode, mailboxId, place };
	if (record.name !== operationName(opcode)) open.name = record.name;
	if (record.blobPath !== undefined) open.blobPath = record.blobPath;
	if (record.linkPath !== undefined) open.linkPath = record.linkPath;
	if (record.accountId !== undefined) open.accountId = record.accountId;
	if (record.oddity !== undefined) open.oddity = record.oddity;
	return open;
}

function toCommitted(
	open: OpenTransaction,
	timestamp: number,
	commit: Place,
): Mutable<CommittedOperation> {
	const { id, opcode, mailboxId, place: change } = open;
	const name = open.name ?? operationName(opcode);
	const fate = fateOf(open);
	const operation: Mutable<CommittedOperation> = {
		id,
		opcode,
		name,
		mailboxId,
		timestamp,
		change,
		commit,
		fate,
	};
	if (open.linkPath !== undefined) operation.linkPath = open.linkPath;
	if (open.accountId !== undefined) operation.accountId = open.accountId;
	if (open.oddity !== undefined) operation.oddity = open.oddity;
	return operation;
}

function fateOf({ oddity, unwalkable }: OpenTransaction): Fate {
	if (unwalkable) return "uncertain";
	return oddity === "not executed" || oddity === "misread over its end"
		? "not executable"
		: "executed";
}
