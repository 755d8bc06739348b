/**
 * What zmplayredo tells of its work in mailbox.log: its exit code is 0 whatever failed.
 * Source: zm-mailbox, com.zimbra.cs.redolog.RedoPlayer, util.ParallelRedoPlayer, util.PlaybackUtil,
 * logger.FileLogReader.
 */

/** An operation that zmplayredo logged as failed and passed over. */
export type FailedOperation = {
	/** `1795443907.12`, where the text names it: Zimbra's message alone may not */
	readonly transaction?: string | undefined;
	readonly operation?: string | undefined;
	readonly mailboxId?: number | undefined;
	/** the line, shortened */
	readonly text: string;
};

export type LogFindings = {
	readonly failed: readonly FailedOperation[];
	/** a mailbox has another id here: what followed may be in the wrong mailbox */
	readonly conflicts: readonly string[];
	/** the rest of a file was dropped */
	readonly dropped: readonly string[];
	/** bytes at which the reader looked for the next record, and records whose beginning it missed */
	readonly oddities: readonly string[];
};

const longest = 500;
/** Each list is kept to so many; a run in which more fails has one cause, not many. */
const mostKept = 100_000;

type Mutable = { -readonly [K in keyof LogFindings]: LogFindings[K][number][] };

/** Takes lines, one at a time, and gives what they told. */
export class LogReading {
	readonly #found: Mutable = { failed: [], conflicts: [], dropped: [], oddities: [] };
	/** the failure whose message and stack trace are being read */
	#pending: { readonly failed: FailedOperation; readonly trace: TraceReading } | undefined;

	line(line: string): void {
		const kind = kindOf(line);
		if (kind === undefined && !beginsEvent.test(line)) {
			this.#pending?.trace.line(line);
			return;
		}
		this.#settle();
		if (kind === undefined || this.#found[kind].length >= mostKept) return;
		const text = shorten(line);
		if (kind === "failed") {
			this.#pending = { failed: readFailed(line, text), trace: new TraceReading() };
		} else this.#found[kind].push(text);
	}

	/** To be asked when all lines are in. */
	get findings(): LogFindings {
		this.#settle();
		return this.#found;
	}

	#settle(): void {
		const pending = this.#pending;
		this.#pending = undefined;
		if (pending === undefined || pending.trace.isMissingScheduler) return;
		const { failed, trace } = pending;
		const text = trace.first === undefined ? failed.text : `${failed.text}: ${trace.first}`;
		this.#found.failed.push({ ...failed, text });
	}
}

/** An event of log4j begins so; its stack trace follows in one block, whatever other threads log. */
const beginsEvent = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d/;

const shorten = (line: string): string => line.slice(0, longest).trim();

/** A stack frame; newer JVMs put a class loader or module before the class. */
const frame = (name: string): RegExp =>
	new RegExp(`^\\s+at (?:[^\\s()]*/)?com\\.zimbra\\.cs\\.mailbox\\.${name}\\(`);
const anyFrame = /^\s+at [^\s(]+\(/;
const schedulerFrame = frame("ScheduledTaskManager\\.(?:cancel|schedule)");
const reminderFrame = frame("alerts\\.CalItemReminderService\\.[\\w$<>]+");
const notifyFrame = frame("alerts\\.CalItemReminderService\\.notify");

/**
 * Reads what follows the line of a failure, and tells the one exception that is none: Zimbra tells its
 * listeners of a change after it has committed the change to the database, and the listener for
 * reminders calls a scheduler that only mailboxd starts. zmplayredo has executed each such operation,
 * and logs it as failed.
 * Source: zm-mailbox, com.zimbra.cs.mailbox.Mailbox.endTransaction, ScheduledTaskManager,
 * alerts.CalItemReminderService, 8.7 to 10.1; measured: the store equals the live one afterwards.
 *
 * The message of the exception differs by JVM, so the frames decide. The trace must be this exception's
 * alone, with no cause behind it. The text of an appointment may stand before it, also over several lines.
 */
class TraceReading {
	/** the line of the exception */
	first: string | undefined;
	#at: "text" | "thrown" | "scheduler" | "reminders" | "notified" | "another" = "text";

	get isMissingScheduler(): boolean {
		return this.#at === "notified";
	}

	line(line: string): void {
		if (anyFrame.test(line)) this.#frame(line);
		else if (line.trim() !== "") this.#text(line);
	}

	#text(line: string): void {
		if (this.#at !== "text" && this.#at !== "thrown") {
			this.#at = "another";
			return;
		}
		this.first = shorten(line);
		this.#at = /^java\.lang\.NullPointerException(?::|\s*$)/.test(line) ? "thrown" : "text";
	}

	#frame(line: string): void {
		switch (this.#at) {
			case "text":
			case "thrown":
				this.#at = this.#at === "thrown" && schedulerFrame.test(line) ? "scheduler" : "another";
				return;
			case "scheduler":
			case "reminders":
				if (notifyFrame.test(line)) this.#at = "notified";
				else if (reminderFrame.test(line)) this.#at = "reminders";
				else if (this.#at === "reminders" || !schedulerFrame.test(line)) this.#at = "another";
				return;
			case "notified":
			case "another":
		}
	}
}

function kindOf(line: string): keyof LogFindings | undefined {
	// A conflict may stand inside the text of a failed operation, and weighs more.
	if (
		/found mismatched mailboxId -?\d+ expected -?\d+|mailbox conflict, mapping old ID|Mailbox ID for account \S+ changed unexpectedly/.test(
			line,
		)
	)
		return "conflicts";
	if (/Unable to execute redo op: |Ignoring error during redo log replay: /.test(line))
		return "failed";
	if (/Ignoring error and moving on: |bytes of junk data at the end of /.test(line))
		return "dropped";
	if (
		/Skipped bad bytes in redolog |Commit\/abort record encountered before corresponding change record/.test(
			line,
		)
	)
		return "oddities";
	return undefined;
}

/** The operation's own words: `txn 1795443907.12 [CreateMessage] ver=1.42, …, mailbox=3, …`. */
function readFailed(line: string, text: string): FailedOperation {
	const named = /\btxn (-?\d+\.-?\d+) \[(\w+)\]/.exec(line);
	const mailbox = /, mailbox=(-?\d+)/.exec(line);
	return {
		transaction: named?.[1],
		operation: named?.[2],
		mailboxId: mailbox === null ? undefined : Number(mailbox[1]),
		text,
	};
}

/**
 * Whether new text in mailbox.log shows work. Without the database zmplayredo waits for ever and says
 * so every five seconds. Source: zm-mailbox, com.zimbra.cs.db.DbPool.waitForDatabase, AbstractRetry.
 */
export function showsWork(text: string): boolean {
	return text
		.split("\n")
		.some(
			(line) =>
				/^\d{4}-\d\d-\d\d /.test(line) &&
				!/Could not establish a connection to the database|retrying connection attempt/.test(line),
		);
}
