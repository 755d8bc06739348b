import { bootId } from "./processes.ts";

/**
 * A moment that survives a clock that jumps: ages are measured on the monotonic clock, which all
 * processes of one boot share; wall time is for people.
 */
export type Moment = {
	/** ms since the epoch */
	readonly wall: number;
	/** ms on CLOCK_MONOTONIC */
	readonly monotonic: number;
	readonly bootId: string;
};

/** CLOCK_MONOTONIC; unlike performance.now() it has nothing to load, which a short command would wait for. */
export const monotonicMs = (): number => Number(process.hrtime.bigint()) / 1e6;

/**
 * Aborts when the time is up.
 * @param problem what an admin is told then: the words of AbortSignal.timeout name neither host nor file
 */
export function deadline(timeoutMs: number, problem: string): AbortSignal {
	const late = new AbortController();
	const error = new Error(`${problem}: not within ${Math.ceil(timeoutMs / 1000)} s`);
	setTimeout(() => late.abort(error), timeoutMs).unref();
	return late.signal;
}

export function now(): Moment {
	return { wall: Date.now(), monotonic: monotonicMs(), bootId: bootId() };
}

/** Age in ms; by the wall clock, never below 0, where the moment is from an earlier boot. */
export function ageOf(moment: Moment): number {
	const at = now();
	if (at.bootId === moment.bootId) return at.monotonic - moment.monotonic;
	return Math.max(0, at.wall - moment.wall);
}
