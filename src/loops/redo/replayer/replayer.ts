import type { LogPosition } from "../../../formats/protocol/messages.ts";
import type { LogIdentity, Position } from "../../../formats/redolog/position.ts";
import type { Problem, ReplayState } from "../../../formats/state.ts";
import type { Config } from "../../../services/config.ts";
import type { Logger } from "../../../services/log/logger.ts";
import type { Run } from "../../../services/run.ts";

/** What the replayer is made of. */
export type ReplayerParts = {
	readonly config: Config;
	readonly run: Run;
	readonly log: Logger;
	/** bytes before it have been on disk for replay_settle; not asked for `everything` */
	readonly settled: () => Position | undefined;
	/** what the local LDAP directory covers, "all" where nobody mirrors it; asked under the lock */
	readonly coverage: () => Promise<Covered | "all" | undefined>;
	readonly events: ReplayerEvents;
};

/** Up to where the local LDAP directory knows every account. */
export type Covered = Position & {
	/** ms on the monotonic clock: when a look at the live directory bore that out last */
	readonly saidAt?: number | undefined;
};

export type ReplayerEvents = {
	onState(state: ReplayState): void;
	onReplayed(position: LogPosition): void;
	/** replay, and a cut with it, waits long for the lock; undefined when that is over */
	onWait(holder: string | undefined): void;
	/** a lasting condition; undefined when it has ended */
	onProblem(problem: Pick<Problem, "code" | "message" | "hint" | "critical"> | undefined): void;
};

/** What came of one attempt. */
export type ReplayResult =
	/** there is nothing that may be replayed now */
	| { readonly kind: "up to date"; readonly position: LogPosition }
	/** the position moved over what needs no run: aborts, logs without operations; there may be more */
	| { readonly kind: "passed"; readonly position: LogPosition }
	/** the position moved; there may be more */
	| {
			readonly kind: "replayed";
			readonly position: LogPosition;
			readonly operations: number;
			readonly failed: number;
			readonly setAside: number;
	  }
	/** nothing was executed */
	| { readonly kind: "retry"; readonly afterMs: number; readonly why: string }
	/** nobody knows what was executed; the next attempt goes over the same part once more */
	| { readonly kind: "re-run"; readonly why: string }
	/** stands still until a person acts; receiving goes on */
	| { readonly kind: "stopped"; readonly why: string; readonly hint: string };

export type Replayer = {
	/**
	 * One run of zmplayredo at most, under the lock. The signal ends the waiting before it; a run that has
	 * begun is finished, since one that is killed leaves nobody knowing what it did.
	 * Throws a Refusal where this mirror must not replay (mailboxd-up, position-lost, log-altered), an
	 * Error where a later attempt may succeed.
	 */
	replay(options: {
		readonly upTo: "settled" | "everything";
		readonly signal: AbortSignal;
	}): Promise<ReplayResult>;
	/** Run after run until nothing is left, one has to wait for long, or replay has stopped. */
	replayEverything(signal: AbortSignal): Promise<ReplayResult>;
	/** Replays what has settled, every replay_interval, until the signal aborts. Throws only a Refusal that bids the mirror withdraw: after any other it tries again later. */
	keepReplaying(signal: AbortSignal): Promise<void>;
	/** Whether something behind that place was executed here, or may have been. */
	reaches(identity: LogIdentity, offset: number): Promise<boolean>;
	/**
	 * The live server has cut its log at `offset`; to be awaited before the local bytes are cut.
	 * Throws a Refusal (divergence) where operations were executed here that are gone there.
	 */
	cut(identity: LogIdentity, offset: number, signal: AbortSignal): Promise<void>;
	readonly state: ReplayState;
};
