import type { FailedOperation, LogFindings } from "./mailbox-log.ts";

/** What a run has left behind about itself. */
export type RunEvidence = {
	/** undefined: it was killed, or it is not known */
	readonly exitCode: number | undefined;
	/** the files it said it was processing, in this order */
	readonly processed: readonly string[];
	/** it came as far as having an output */
	readonly started: boolean;
	/** its first words, for people */
	readonly said: string;
};

export type RunFacts = {
	/** the files it was given; `mayDrop`: known to hold what makes zmplayredo drop the rest of it */
	readonly files: readonly { readonly path: string; readonly mayDrop: boolean }[];
	readonly evidence: RunEvidence;
	/** undefined: mailbox.log could not be read */
	readonly log: LogFindings | undefined;
	/** the machine was restarted since: what was written last may be gone, evidence and work */
	readonly sameBoot: boolean;
	/** the database that the run began with is the one that runs: a dead one lost its last second */
	readonly sameDatabase: boolean;
	/** the run was ended by us */
	readonly ended: string | undefined;
};

/** What is known of a replay run that has ended. */
export type RunOutcome =
	/** everything it was given was executed, except what is named */
	| {
			readonly kind: "done";
			readonly failed: readonly FailedOperation[];
			/** files of which zmplayredo dropped the rest, as was to be expected */
			readonly dropped: readonly string[];
	  }
	/** it ended before its first file: the store is as it was */
	| { readonly kind: "nothing executed"; readonly why: string }
	/** it may have executed anything from nothing to all of it */
	| { readonly kind: "unknown"; readonly why: string }
	/** a mailbox has another id here; operations may have gone into the wrong mailbox */
	| { readonly kind: "conflict"; readonly why: string };

/**
 * Judges a run. The exit code alone proves nothing (0 with operations skipped, or with the rest of a
 * file dropped); only the agreement of all that is known makes a run "done".
 */
export function judgeRun(facts: RunFacts): RunOutcome {
	const { evidence, log } = facts;
	const unknown = (why: string): RunOutcome => ({ kind: "unknown", why });
	if (!facts.sameBoot) return unknown("this machine was restarted during the run");
	if (evidence.processed.length === 0 && (evidence.exitCode !== 0 || !evidence.started)) {
		return { kind: "nothing executed", why: facts.ended ?? howItEnded(evidence) };
	}
	if (log !== undefined && log.conflicts.length > 0) {
		return { kind: "conflict", why: log.conflicts[0] ?? "" };
	}
	if (facts.ended !== undefined) return unknown(facts.ended);
	if (evidence.exitCode !== 0) return unknown(howItEnded(evidence));
	if (evidence.processed.length !== facts.files.length) {
		return unknown(
			`it was given ${facts.files.length} files and processed ${evidence.processed.length}`,
		);
	}
	if (!facts.sameDatabase) return unknown("the database died during the run");
	if (log === undefined) return unknown("what it did cannot be read from mailbox.log");
	const expected = facts.files.filter(({ mayDrop }) => mayDrop);
	if (log.dropped.length > 0 && expected.length === 0) {
		return unknown(`it dropped the rest of a file: ${log.dropped[0]}`);
	}
	return { kind: "done", failed: log.failed, dropped: log.dropped };
}

function howItEnded({ exitCode, said }: RunEvidence): string {
	const how =
		exitCode === undefined ? "zmplayredo was killed" : `zmplayredo exited with ${exitCode}`;
	return said === "" ? how : `${how}: ${said}`;
}
