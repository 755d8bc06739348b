import { comparePositions, type Position } from "../redolog/position.ts";

/**
 * How far a replay may go.
 * - a position: up to there
 * - `all`: all that is there
 * - `ldap unknown`: nowhere, since it is not known what the local LDAP directory covers
 * - `nothing settled`: nowhere yet
 */
export type ReplayLimit = Position | "all" | "ldap unknown" | "nothing settled";

export type LimitFacts = {
	readonly upTo: "settled" | "everything";
	/** bytes before it have been on disk here for replay_settle */
	readonly settled: Position | undefined;
	/** the local LDAP directory has every change made before the live log stood here */
	readonly coverage: Position | "all" | undefined;
};

/**
 * Never ahead of the live server's disk, and never ahead of LDAP: an operation whose account is
 * missing is skipped for good, or goes to the wrong mailbox. `everything` is for a live server that
 * is gone, or a mirror that stops: nothing better will come.
 */
export function replayLimit({ upTo, settled, coverage }: LimitFacts): ReplayLimit {
	if (upTo === "everything") return "all";
	if (settled === undefined) return "nothing settled";
	if (coverage === undefined) return "ldap unknown";
	if (coverage === "all") return settled;
	return comparePositions(settled, coverage) < 0 ? settled : coverage;
}
