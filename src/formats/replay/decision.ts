import type { FailedOperation } from "./mailbox-log.ts";
import type { RunOutcome } from "./outcome.ts";

/** What to do after a replay run, given what came before. */
export type Decision =
	/** the position moves; what failed is kept first */
	| { readonly kind: "advance"; readonly failed: readonly FailedOperation[] }
	/** nothing was executed: the same again, later */
	| { readonly kind: "retry"; readonly afterMs: number; readonly why: string }
	/** once more, in one thread and without copies that are there, at most once for a part of the log */
	| { readonly kind: "re-run"; readonly why: string }
	/** replay stands still until a person acts; receiving goes on */
	| { readonly kind: "stop"; readonly why: string };

export type RunHistory = {
	/** runs over this part of the log of which nobody knows what they executed, before this one */
	readonly unknownEnds: number;
	/** attempts in a row that executed nothing, before this one */
	readonly idleAttempts: number;
};

export function decide(outcome: RunOutcome, history: RunHistory): Decision {
	switch (outcome.kind) {
		case "done":
			return { kind: "advance", failed: outcome.failed };
		case "nothing executed":
			return { kind: "retry", afterMs: retryDelay(history.idleAttempts), why: outcome.why };
		case "unknown":
			return history.unknownEnds === 0
				? { kind: "re-run", why: outcome.why }
				: { kind: "stop", why: `it was run again, and again ${outcome.why}` };
		case "conflict":
			return { kind: "stop", why: `mailbox id conflict: ${outcome.why}` };
	}
}

const shortestMs = 1000;
const longestMs = 300_000;

/** Doubles from one second to five minutes. */
export const retryDelay = (attemptsBefore: number): number =>
	Math.min(shortestMs * 2 ** Math.min(attemptsBefore, 20), longestMs);
