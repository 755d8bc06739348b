import { comparePositions, formatPosition, type Position } from "./redolog/position.ts";
import type { RedoState } from "./state.ts";

/** What a `stop` knows of the live server's redo log, without asking anybody. */
export type LiveEndFacts = {
	/** where the bytes end that are here */
	readonly here: Position | undefined;
	/** all of that log is here: the next byte is of the next one */
	readonly closed: boolean;
	/** what the redo loop published last */
	readonly state: Pick<RedoState, "at" | "heardAt" | "live" | "flushLagSeconds"> | undefined;
	/** ms since the epoch: this server became a mirror */
	readonly since: number;
	/** ms since the epoch: `stop` was typed, and the loop should have listened up to then */
	readonly until: number | undefined;
	/** heartbeat_interval */
	readonly heartbeatMs: number;
	/** link_timeout */
	readonly linkTimeoutMs: number;
	/** lag_max */
	readonly lagMaxMs: number;
};

export type LiveEnd = {
	/** a sentence for a person */
	readonly text: string;
	/** more is missing than what was under way when the link ended, or nobody knows what is */
	readonly loss: boolean;
};

/** What was under way when the live server died is no older than this when it was last heard of, … */
const underWayMs = 5000;
/** … and no more than this. */
const underWayBytes = 1 << 20;

/**
 * Compares the end of the live log, as the last heartbeat told it, with what is here. What the live server
 * took after that heartbeat nobody here can know.
 */
export function judgeLiveEnd(facts: LiveEndFacts): LiveEnd {
	const { here, closed, state, since } = facts;
	const { live, heardAt } = state ?? {};
	// What an earlier life as a mirror has published says nothing of this one.
	if (live === undefined || heardAt === undefined || state === undefined || state.at.wall < since) {
		const when = since === 0 ? "" : `, since ${moment(since)}`;
		return {
			text: `How much of the live server's redo log is missing here is not known: nothing was heard of it in this server's life as a mirror${when}`,
			loss: true,
		};
	}
	const end = formatPosition(live.position);
	const heard = `when the live server was last heard of, at ${moment(heardAt.wall)}, its redo log ended at ${end}`;
	if (endedListening(facts)) {
		return {
			text: `What the live server took after ${moment(state.at.wall)} is not known here: it served then, and no loop of this mirror has listened since`,
			loss: true,
		};
	}
	if (here !== undefined && holdsAll(here, closed, live.position)) {
		return {
			text: `All that is known of the live server's redo log is here: ${heard}`,
			loss: false,
		};
	}
	const missing = bytesMissing(here, closed, live.position);
	const amount = missing === undefined ? "a part, of unknown size," : `${missing} bytes`;
	const at = here === undefined ? "nothing" : `everything up to ${formatPosition(here)}`;
	const text = `Of the live server's redo log ${amount} never came here: ${heard}, and ${at} was received`;
	const small = missing !== undefined && missing <= underWayBytes && wasUnderWay(facts);
	return small
		? { text: `${text}. That was under way when the link ended`, loss: false }
		: { text, loss: true };
}

const emptyLog = 512;

function holdsAll(here: Position, closed: boolean, live: Position): boolean {
	if (comparePositions(here, live) >= 0) return true;
	// A log without operations follows the one that is here whole.
	return closed && live.sequence === here.sequence + 1 && live.offset <= emptyLog;
}

function bytesMissing(
	here: Position | undefined,
	closed: boolean,
	live: Position,
): number | undefined {
	if (here === undefined) return undefined;
	if (live.sequence === here.sequence) return live.offset - here.offset;
	return closed && live.sequence === here.sequence + 1 ? live.offset - emptyLog : undefined;
}

/** The live server was there when the loop ended, long before `stop` was typed: it may have served on. */
function endedListening({ state, until, linkTimeoutMs, lagMaxMs }: LiveEndFacts): boolean {
	if (state?.heardAt === undefined || until === undefined) return false;
	const wasThere = state.at.monotonic - state.heardAt.monotonic <= linkTimeoutMs;
	return wasThere && until - state.at.wall > lagMaxMs;
}

/** How long the live log had been longer than what was here, when it was last heard of. */
function wasUnderWay({ state, heartbeatMs }: LiveEndFacts): boolean {
	if (state?.flushLagSeconds === undefined || state.heardAt === undefined) return false;
	const silentMs = state.at.monotonic - state.heardAt.monotonic;
	const behindMs = state.flushLagSeconds * 1000 - silentMs;
	return behindMs <= Math.max(underWayMs, 3 * heartbeatMs);
}

const moment = (time: number): string => new Date(time).toISOString();
