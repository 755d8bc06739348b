import type { LdapMark } from "./ldap/mark.ts";
import type { Coverage } from "./ldap/wire.ts";
import type { Position } from "./redolog/position.ts";

/**
 * What the two loops publish, each in a file of its own that it replaces about once a second:
 * `status` reads nothing else. Unknown is undefined, never a guess.
 */

/** A moment on both clocks; ages are taken on the monotonic one (see services/clock.ts). */
export type StateMoment = {
	readonly wall: number;
	readonly monotonic: number;
	readonly bootId: string;
};

/** A condition that lasts, told once in the log and shown until it ends. */
export type Problem = {
	/** a code of docs/errors.md, or "trouble" for what is tried again */
	readonly code: string;
	readonly message: string;
	readonly hint?: string;
	/** ms since the epoch */
	readonly since: number;
	/** replication or replay stands still until a person acts */
	readonly critical: boolean;
};

export type LinkPhase = "connecting" | "catching up" | "streaming" | "waiting" | "stopped";

export type RedoState = {
	readonly version: 1;
	readonly pid: number;
	readonly at: StateMoment;
	readonly phase: LinkPhase;
	readonly peer: string;
	readonly received?: Position | undefined;
	readonly flushed?: Position | undefined;
	/** the newest archive proved byte-identical with the live one */
	readonly verified?: string | undefined;
	readonly replayed?: Position | undefined;
	/** end of the live log and the live clock, as the last heartbeat told */
	readonly live?: { readonly position: Position; readonly clock: number } | undefined;
	/** when that heartbeat came */
	readonly heardAt?: StateMoment | undefined;
	readonly flushLagBytes?: number | undefined;
	/** seconds since the live log stood at our flushed position; 0 when nothing is missing */
	readonly flushLagSeconds?: number | undefined;
	readonly replay: ReplayState;
	readonly problems: readonly Problem[];
};

export type ReplayState = {
	readonly phase: "idle" | "running" | "retrying" | "stopped";
	readonly runs: number;
	readonly operations: number;
	readonly failedOperations: number;
	readonly operationsAtRisk: number;
	readonly lastRun?:
		| { readonly endedAt: number; readonly tookMs: number; readonly operations: number }
		| undefined;
	/** seconds by which the store is behind the live log */
	readonly lagSeconds?: number | undefined;
};

/** One copy of the live LDAP directory. */
export type LdapSnapshot = LdapMark & {
	readonly id: string;
	/**
	 * Live redo position read before the transaction ids: the copy has what operations up to there
	 * need. Undefined where the live server had no redo.log.
	 */
	readonly coverage?: Coverage | undefined;
	/** ms since the epoch, live clock */
	readonly takenAt: number;
	/** undefined for hdb, whose copies cannot be read before they are in use */
	readonly entries?: number | undefined;
};

export type LdapState = {
	readonly version: 1;
	readonly pid: number;
	readonly at: StateMoment;
	readonly phase:
		| "connecting"
		| "watching"
		| "pulling"
		| "checking"
		| "swapping"
		| "waiting"
		| "stopped";
	readonly peer: string;
	/** the newest state of the live directory, and when (ms, live clock) it was first seen */
	readonly changeSeen?:
		| { readonly transactionIds: Readonly<Record<string, number>>; readonly at: number }
		| undefined;
	/** when the live server was last heard of */
	readonly heardAt?: StateMoment | undefined;
	/** where the live log ended then; a mirror that has more waits for no copy that covers it */
	readonly liveEnd?: Position | undefined;
	/** ms since the epoch, the live clock at that moment */
	readonly liveClock?: number | undefined;
	readonly staged?: LdapSnapshot | undefined;
	readonly installed?: LdapSnapshot | undefined;
	/**
	 * The installed copy holds every LDAP change made before the live log stood here. An unchanged
	 * transaction id moves it on without a new copy.
	 */
	readonly coverage?: Coverage | undefined;
	/** when a look at the live directory bore that out last */
	readonly coverageAt?: StateMoment | undefined;
	/** whether the LDAP passwords in localconfig.xml of the two hosts have drifted apart */
	readonly passwordsDiffer?: boolean | undefined;
	/** copies put in use since the loop started */
	readonly rounds: number;
	readonly lastRound?:
		| {
				readonly endedAt: number;
				readonly tookMs: number;
				readonly bytesReceived: number;
				readonly bytesSent: number;
		  }
		| undefined;
	readonly problems: readonly Problem[];
};
