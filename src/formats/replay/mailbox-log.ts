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

	line(line: string): void {
		const kind = kindOf(line);
		if (kind === undefined || this.#found[kind].length >= mostKept) return;
		const text = line.slice(0, longest).trim();
		if (kind === "failed") this.#found.failed.push(readFailed(line, text));
		else this.#found[kind].push(text);
	}

	get findings(): LogFindings {
		return this.#found;
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
