/**
 * What a walk tells of a record. Source of the format: zm-mailbox,
 * com.zimbra.cs.redolog.op.RedoableOp and its subclasses.
 *
 * The common part, 46 bytes, big endian:
 *
 *     0  6    "ZMREDO"           26 4  change constraint
 *     6  2+2  version            30 4  transaction: time, s
 *     10 4    opcode             34 4  transaction: counter
 *     14 8    timestamp, ms      38 8  mailbox id (4 bytes before version 1.26)
 *     22 4    change id
 */
export const recordMark = "ZMREDO";

/** Names a transaction; unique on one server. */
export type TransactionId = {
	/** s since the epoch, when the server that gave it had started */
	readonly time: number;
	readonly counter: number;
};

/** `1795443907.12`, also good as a key. */
export const formatTransaction = (id: TransactionId): string => `${id.time}.${id.counter}`;

/** Bytes of a message or file, as they stand in the log (gzipped if the blob was). */
export type Body = { readonly offset: number; readonly length: number };

/**
 * - `change`: opens a transaction
 * - `commit`, `abort`: ends it
 * - `checkpoint`: the last record of a log that was rolled over with open transactions
 */
export type RecordKind = "change" | "commit" | "abort" | "checkpoint";

/**
 * What Zimbra's own reader makes of a record that is good:
 * - `not executed`: it has no class for it and passes over it
 * - `misread`: it takes it for the operation that has the number, executes that, and finds the next
 *   record by searching
 * - `misread over its end`: the same, and it takes the beginning of the next record for its own, which
 *   is lost with it: a commit, or another's change
 */
export type Oddity = "not executed" | "misread" | "misread over its end";

/** The part that all records have. */
export type RecordHead = {
	/** bytes from the start of the file */
	readonly offset: number;
	readonly opcode: number;
	readonly version: { readonly major: number; readonly minor: number };
	/** ms since the epoch; not sorted within a file */
	readonly timestamp: number;
	/** -1 if there is none */
	readonly changeId: number;
	readonly transaction: TransactionId;
	/** -1 means all mailboxes, 0 none */
	readonly mailboxId: number;
};

export type LogRecord = RecordHead & {
	/** bytes, the common part included */
	readonly length: number;
	readonly kind: RecordKind;
	/** the operation as it is, also where Zimbra's reader takes it for another */
	readonly name: string;
	/** the opcode of the transaction that a commit or abort record ends */
	readonly endedOpcode?: number;
	/** of a checkpoint; the first 100,000 */
	readonly activeTransactions?: readonly TransactionId[];
	/** the last body, of a record that has one */
	readonly body?: Body;
	/** StoreIncomingBlob: the name under which links find its body */
	readonly blobPath?: string;
	/** CreateMessage and its kin without a body of their own: the path of the StoreIncomingBlob */
	readonly linkPath?: string;
	/** CreateMailbox: the zimbraId of the account */
	readonly accountId?: string;
	readonly oddity?: Oddity;
};

/** Why a walk went no further. `offset` is the last record boundary. */
export type WalkEnd =
	/** at the limit, or at the end of what is there, and all of it was records */
	| { readonly kind: "clean"; readonly offset: number }
	/** the bytes behind `offset` are the beginning of a record; more may follow */
	| { readonly kind: "torn"; readonly offset: number }
	/**
	 * The record at `offset` has a common part, but nobody knows where it ends. `named`: the number is in
	 * Zimbra's list, an extension may have its class; else Zimbra's reader drops the rest of the file.
	 */
	| {
			readonly kind: "unknown opcode";
			readonly offset: number;
			readonly head: RecordHead;
			readonly named: boolean;
	  }
	/** the bytes at `offset` are no record */
	| { readonly kind: "unreadable"; readonly offset: number; readonly reason: string };
