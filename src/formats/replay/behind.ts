import { storeIncomingBlob } from "../redolog/layouts.ts";
import type { Position } from "../redolog/position.ts";
import { formatTransaction, type LogRecord } from "../redolog/record.ts";
import { LogWalk } from "../redolog/walker.ts";
import type { ReplayedPosition } from "./replayed-position.ts";
import { type ReplayLog, type ReplayRange, type ScanEnd, scanReplay } from "./scan.ts";
import { type CommittedOperation, ReplayState } from "./state.ts";

/**
 * What Zimbra has written behind the part of the redo log that was received: the commit and abort
 * records of its start-up recovery, then operations of its own.
 */
export type Behind = {
	/** transactions with a commit record there: received ones among them were executed by the recovery */
	readonly committed: ReadonlySet<string>;
	/** mailboxes in which Zimbra has worked here */
	readonly mailboxes: ReadonlySet<number>;
	/** accounts for which it has made a mailbox here */
	readonly accounts: ReadonlySet<string>;
	/**
	 * False where something there cannot be read, or is the live server's: then nobody knows what the store
	 * has, and nothing is to be executed on it
	 */
	readonly whole: boolean;
};

/** A part of a log behind what was received. */
export type BehindPart = { readonly log: ReplayLog; readonly from: number };

/**
 * Operations that Zimbra does by itself, without a user, in one mailbox after the other. They give no
 * item id, and what they do is not undone or redone by an older operation that comes behind them.
 */
const quiet = new Set([10, 11, 17, 45, 55, 68]);

/** @param received transactions whose change record was received: one is not Zimbra's own here */
export async function lookBehind(
	parts: readonly BehindPart[],
	received: ReadonlySet<string>,
	whole: boolean,
	pause: () => Promise<void>,
): Promise<Behind> {
	const committed = new Set<string>();
	const mailboxes = new Set<number>();
	const accounts = new Set<string>();
	// A transaction is named after the second in which its server was started.
	const starts = new Set([...received].map((id) => id.slice(0, id.indexOf("."))));
	let readable = whole;
	for (const { log, from } of parts) {
		const walk = new LogWalk(log.source, { from });
		let count = 0;
		for (const record of walk) {
			if (++count % 4096 === 0) await pause();
			const id = formatTransaction(record.transaction);
			if (record.kind === "commit") committed.add(id);
			if (record.kind !== "change" || received.has(id)) continue;
			// All of the live server was copied here anew, its store too, or a loop was killed as it wrote.
			if (starts.has(String(record.transaction.time))) readable = false;
			if (record.opcode === storeIncomingBlob || quiet.has(record.opcode)) continue;
			mailboxes.add(record.mailboxId);
			if (record.accountId !== undefined) accounts.add(record.accountId);
		}
		// A tail that is cut short is of a mailboxd that was killed: its record counts for nobody.
		if (walk.end?.kind !== "clean" && walk.end?.kind !== "torn") readable = false;
	}
	return { committed, mailboxes, accounts, whole: readable };
}

/** What was received, committed, and not replayed when Zimbra was started. */
export type Unreplayed = {
	/** executed by Zimbra's start-up recovery */
	readonly recovered: readonly CommittedOperation[];
	/** in mailboxes in which Zimbra has done nothing here: to be replayed */
	readonly open: readonly CommittedOperation[];
	/**
	 * In mailboxes in which it has: their items may bear ids that Zimbra has given to others here, and
	 * a move or a mark would hit what came later. These are not to be replayed.
	 */
	readonly overtaken: readonly CommittedOperation[];
	/** how the walk over the range ended: where a log is missing, these are not all */
	readonly end: ScanEnd;
};

/**
 * All of the range, by what Zimbra has done since. An abort there counts for nothing: the recovery has
 * tried an operation that was committed, and failed, as it does with a link whose blob it has not stored.
 */
export async function sortUnreplayed(
	range: ReplayRange,
	lookAt: (received: ReadonlySet<string>) => Promise<Behind>,
	pause: () => Promise<void>,
): Promise<Unreplayed> {
	const operations: CommittedOperation[] = [];
	const state = new ReplayState(range.from);
	const scan = scanReplay(range, state);
	let step = scan.next();
	for (; step.done !== true; step = scan.next()) {
		if (step.value.kind === "tick") await pause();
		if (step.value.kind === "committed") operations.push(step.value.operation);
	}
	const received = new Set([...operations.map(({ id }) => id), ...state.open.keys()]);
	const behind = await lookAt(received);
	const counted = operations.filter(
		({ opcode, fate }) =>
			opcode !== storeIncomingBlob && (fate === "executed" || fate === "uncertain"),
	);
	const recovered = counted.filter(({ id }) => behind.committed.has(id));
	const left = counted.filter(({ id }) => !behind.committed.has(id));
	const unsafe = new Set(behind.mailboxes);
	for (const { accountId, mailboxId } of left) {
		// The account has another mailbox here, made by Zimbra for its first mail.
		if (accountId !== undefined && behind.accounts.has(accountId)) unsafe.add(mailboxId);
	}
	const isOvertaken = ({ mailboxId }: CommittedOperation) => !behind.whole || unsafe.has(mailboxId);
	return {
		recovered,
		open: left.filter((operation) => !isOvertaken(operation)),
		overtaken: left.filter(isOvertaken),
		end: step.value,
	};
}

export type CutQuestion = {
	/** the log that was being received, as Zimbra has left it */
	readonly log: ReplayLog;
	/** where replay stands, or the end of the header: a record boundary that was received */
	readonly from: number;
	/** bytes that were received */
	readonly upTo: number;
	/** logs that came after it, made by Zimbra here */
	readonly later: readonly ReplayLog[];
	/** ms since the epoch: the last of it was flushed here */
	readonly flushedAt: number;
};

/**
 * Where Zimbra's start cut the record that had not arrived whole, so that what stands behind that place is
 * its own: asked only where the bytes up to `upTo` are not those that were received. Undefined where no
 * such place is found: then something else has changed them.
 *
 * An own change record bears a transaction that begins with the second in which Zimbra was started here,
 * and records behind `upTo` tell that second. Of any other record the time decides: it is an own one where it
 * ends a transaction again, or where its time is nearer to Zimbra's start here than to the last flush.
 */
export function findCut(question: CutQuestion): Position | undefined {
	const { log, from, upTo, later, flushedAt } = question;
	const { sequence } = log.identity;
	const starts = new Set<number>();
	const times = later.map(({ header }) => header.createTime);
	const noteOwn = (record: LogRecord) => {
		if (record.kind !== "change") return;
		starts.add(record.transaction.time);
		times.push(record.timestamp);
	};
	for (const record of new LogWalk(log.source, { from })) {
		if (record.offset >= upTo) noteOwn(record);
	}
	for (const each of later) for (const record of new LogWalk(each.source)) noteOwn(record);
	const startedAt = times.length === 0 ? Number.POSITIVE_INFINITY : Math.min(...times);
	const isLate = (time: number) =>
		startedAt === Number.POSITIVE_INFINITY
			? time > flushedAt + doubtMs
			: time - flushedAt > startedAt - time;
	const ended = new Set<string>();
	const walk = new LogWalk(log.source, { from });
	for (const record of walk) {
		if (record.offset >= upTo) return undefined;
		const id = formatTransaction(record.transaction);
		const again = ended.has(id) && record.timestamp >= flushedAt - doubtMs;
		const own =
			record.kind === "change" && starts.size > 0
				? starts.has(record.transaction.time)
				: record.kind === "checkpoint" || again || isLate(record.timestamp);
		if (own) return { sequence, offset: record.offset };
		if (record.kind !== "change") ended.add(id);
	}
	// It was cut, and nothing was written behind it. Bytes that cannot be read are damage, and no cut.
	const { end } = walk;
	const isCut = end?.kind === "clean" || end?.kind === "torn";
	return isCut && log.length < upTo ? { sequence, offset: end.offset } : undefined;
}

/** More than the clocks of the two servers may differ by, in the usual case. */
const doubtMs = 5000;

/** Where replay stands, with transactions that no replay is to execute any more. */
export function withoutReplayOf(
	position: ReplayedPosition,
	operations: readonly CommittedOperation[],
): ReplayedPosition {
	const ids = operations.map(({ id }) => id);
	return { ...position, executed: [...new Set([...position.executed, ...ids])] };
}
