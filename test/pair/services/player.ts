import { setTimeout as sleep } from "node:timers/promises";
import { op } from "../redo/layouts.ts";
import { recordsOf } from "../redo/log-reader.ts";
import { allMailboxes, type RedoRecord, transactionName } from "../redo/record.ts";
import { AlreadyDone, type Executor, MailboxIdConflict } from "../store/executor.ts";
import { control, executionLine, journalExecution, logMailbox } from "./place.ts";
import type { PlaybackOptions } from "./playback-options.ts";

export type PlayerFaults = {
	/** dies by SIGKILL after so many operations */
	readonly dieAfter?: number;
	/** and the shell that started it too, so that the pid file stays */
	readonly dieWithShell?: boolean;
	/** goes no further after so many operations, and does not end */
	readonly hangAfter?: number;
	/** goes no further after so many operations until the test says something else */
	readonly waitAfter?: number;
	/** fails each operation with this code, as a broken store would */
	readonly failOpcode?: number;
	/**
	 * Treats operations of this code as Zimbra's player treats changes of an appointment: they are executed,
	 * and the listener for reminders fails after the commit.
	 */
	readonly reminderOpcode?: number;
};

/** What Zimbra's player logs there, message and frames; the lines below the frames differ by operation. */
const reminderMessage =
	'Cannot invoke "com.zimbra.common.util.TaskScheduler.cancel(Object, boolean)" because "com.zimbra.cs.mailbox.ScheduledTaskManager.sScheduler" is null';
const reminderTrace = [
	`java.lang.NullPointerException: ${reminderMessage}`,
	...[
		"ScheduledTaskManager.cancel(ScheduledTaskManager.java:170)",
		"ScheduledTaskManager.cancel(ScheduledTaskManager.java:149)",
		"alerts.CalItemReminderService.cancelExistingReminders(CalItemReminderService.java:118)",
		"alerts.CalItemReminderService.notify(CalItemReminderService.java:75)",
		"MailboxListener.notifyListeners(MailboxListener.java:124)",
		"Mailbox.commitCache(Mailbox.java:10363)",
		"Mailbox.endTransaction(Mailbox.java:10064)",
	].map((place) => `\tat com.zimbra.cs.mailbox.${place} ~[zimbrastore.jar:?]`),
].join("\n");

/** An operation that was executed, and that the player takes for failed all the same. */
class NoScheduler extends Error {
	constructor() {
		super(reminderMessage);
	}
}

/** An exception as log4j writes it behind the line of its event. */
const traceOf = (error: Error): string =>
	error instanceof NoScheduler
		? reminderTrace
		: `com.zimbra.common.service.ServiceException: ${error.message}\n\tat com.zimbra.cs.redolog.RedoPlayer.redoOpWithMboxConflict(RedoPlayer.java:368) ~[zimbrastore.jar:?]`;

const stillToWait = (): boolean => control<PlayerFaults>("zmplayredo").waitAfter !== undefined;

const nameOf = ({ transaction }: RedoRecord): string => transactionName(transaction);

/**
 * Carries the committed operations of logs out: com.zimbra.cs.redolog.RedoPlayer and, with more than
 * one thread, util.ParallelRedoPlayer. A thread here is a queue that works one operation at a time.
 */
export class Player {
	readonly #executor: Executor;
	readonly #options: PlaybackOptions;
	readonly #faults: Partial<PlayerFaults>;
	/** changes without end yet; it outlives the file */
	readonly #open = new Map<string, RedoRecord>();
	/** old mailbox id to new: it lives for one run only */
	readonly #conflicts = new Map<number, number>();
	readonly #queues: Queue[];
	#executed = 0;

	constructor(executor: Executor, options: PlaybackOptions, faults: Partial<PlayerFaults>) {
		this.#executor = executor;
		this.#options = options;
		this.#faults = faults;
		const alone = options.threads === 1 || options.mailboxId !== undefined;
		const threads = alone ? 0 : options.threads;
		this.#queues = Array.from({ length: threads }, () => new Queue(options.queueCapacity));
	}

	/** Reads one log; throws what ends its reading. A torn tail ends it quietly, wherever it is. */
	async play(file: string): Promise<void> {
		const walk = recordsOf(file);
		for (;;) {
			const { value, done } = walk.next();
			if (done === true) {
				const { goodEnd, size, skippedBytes } = value;
				if (skippedBytes > 0)
					logMailbox("WARN", "main", `Skipped bad bytes in redolog ${file}: ${skippedBytes} bytes`);
				if (goodEnd < size) {
					logMailbox("WARN", "main", "IOException while reading redolog file");
					logMailbox(
						"WARN",
						"main",
						`There were ${size - goodEnd} bytes of junk data at the end of ${file}.`,
					);
				}
				return;
			}
			await this.#read(value.record);
		}
	}

	async shutdown(): Promise<void> {
		await Promise.all(this.#queues.map((queue) => queue.end()));
	}

	async #read(record: RedoRecord): Promise<void> {
		if (record.opcode === op.checkpoint) return;
		const commits = record.opcode === op.commit;
		if (!commits && record.opcode !== op.abort) {
			this.#open.set(nameOf(record), record);
			return;
		}
		const change = this.#open.get(nameOf(record));
		this.#open.delete(nameOf(record));
		if (change === undefined) {
			logMailbox(
				"ERROR",
				"main",
				`Commit/abort record encountered before corresponding change record (txn ${nameOf(record)})`,
			);
			return;
		}
		if (commits && this.#wanted(change, record)) await this.#submit(change);
	}

	#wanted(change: RedoRecord, commit: RedoRecord): boolean {
		const { fromTime, toTime, mailboxId } = this.#options;
		if (change.time < fromTime || commit.time > toTime) return false;
		if (mailboxId === undefined || change.mailboxId === mailboxId) return true;
		const list = change.fields["mailboxes"] as { id: number }[] | undefined;
		if (change.opcode === op.storeIncomingBlob)
			return list === undefined || list.some(({ id }) => id === mailboxId);
		return change.mailboxId === allMailboxes;
	}

	/** Operations for all mailboxes are done at once by the reader itself, the others by their mailbox's thread. */
	async #submit(change: RedoRecord): Promise<void> {
		const failed = this.#queues.find(({ error }) => error !== undefined);
		if (failed !== undefined)
			throw new Error(`Redo playback stopped due to an earlier error: ${failed.error?.message}`);
		const { mailboxId } = change;
		const queue =
			mailboxId > 0 ? this.#queues[Math.abs(mailboxId % this.#queues.length)] : undefined;
		if (queue === undefined) {
			try {
				await this.#execute(change);
			} catch (error) {
				if (this.#options.stopOnError) throw new Error("Error executing redoOp", { cause: error });
				const { message } = error as Error;
				const text = `Ignoring error during redo log replay: ${message}\n${traceOf(error as Error)}`;
				logMailbox("WARN", "main", text);
			}
			return;
		}
		await queue.add(async () => {
			if (this.#queues.some(({ error }) => error !== undefined)) return;
			try {
				await this.#execute(change);
			} catch (error) {
				logMailbox(
					"ERROR",
					`RedoPlayer-${Math.abs(mailboxId % this.#queues.length)}`,
					`Unable to execute redo op: txn ${nameOf(change)} [${change.opcode}] ver=1.${change.minor}, tstamp=${change.time}, change=${change.changeId}, mailbox=${mailboxId}\n${traceOf(error as Error)}`,
				);
				if (this.#options.stopOnError) queue.error = error as Error;
			}
		});
	}

	async #execute(change: RedoRecord): Promise<void> {
		const mapped = this.#conflicts.get(change.mailboxId);
		if (mapped !== undefined)
			logMailbox(
				"WARN",
				"main",
				`mailbox conflict, mapping old ID ${change.mailboxId} to ${mapped}`,
			);
		const record = mapped === undefined ? change : { ...change, mailboxId: mapped };
		const by = `zmplayredo:${process.pid}`;
		const what = { ...change, transaction: nameOf(change) };
		try {
			await this.#misbehave(change);
			await this.#executor.execute(record, executionLine(by, what, "ok"));
			if (change.opcode === this.#faults.reminderOpcode) throw new NoScheduler();
		} catch (error) {
			if (error instanceof AlreadyDone) {
				journalExecution(by, what, `done: ${error.message}`);
				logMailbox("INFO", "main", error.message);
			} else if (error instanceof MailboxIdConflict) {
				journalExecution(by, what, `conflict: ${error.message}`);
				const text = `found mismatched mailboxId ${error.found} expected ${error.expected}`;
				logMailbox("WARN", "main", text);
				this.#conflicts.set(error.expected, error.found);
			} else {
				if (error instanceof NoScheduler) throw error;
				journalExecution(by, what, `failed: ${(error as Error).message}`);
				throw error;
			}
		}
	}

	async #misbehave({ opcode }: RedoRecord): Promise<void> {
		const { dieAfter, dieWithShell, hangAfter, waitAfter, failOpcode } = this.#faults;
		while (waitAfter !== undefined && this.#executed >= waitAfter && stillToWait()) await sleep(20);
		if (dieAfter !== undefined && this.#executed >= dieAfter) {
			if (dieWithShell === true) process.kill(process.ppid, "SIGKILL");
			process.kill(process.pid, "SIGKILL");
			Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
		}
		if (hangAfter !== undefined && this.#executed >= hangAfter)
			await new Promise(() => setInterval(() => {}, 1e9));
		this.#executed++;
		if (opcode === failOpcode) throw new Error(`operation ${opcode} fails, as asked for`);
	}
}

/** A player thread: works its operations off in order, and lets the reader wait when it has too many. */
class Queue {
	/** set by an error with --stopOnError */
	error: Error | undefined;
	readonly #capacity: number;
	#waiting = 0;
	#tail: Promise<void> = Promise.resolve();

	constructor(capacity: number) {
		this.#capacity = Math.max(capacity, 1);
	}

	async add(work: () => Promise<void>): Promise<void> {
		this.#waiting++;
		this.#tail = this.#tail.then(work).finally(() => this.#waiting--);
		if (this.#waiting > this.#capacity) await this.#tail;
	}

	end(): Promise<void> {
		return this.#tail;
	}
}
