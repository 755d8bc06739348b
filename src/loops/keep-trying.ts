import { setTimeout as sleep } from "node:timers/promises";
import { sameTroubleMs } from "./problems.ts";

export type KeepTryingOptions = {
	readonly signal: AbortSignal;
	/** ms; the longest pause after what was thrown. The first pause is one second or this, whichever is less. */
	readonly longestMs: (problem: unknown) => number;
	/** told of what was thrown, and how long the pause is going to be */
	readonly onRetry: (problem: unknown, delayMs: number) => void;
	/** errors that no further attempt can mend: they are thrown on */
	readonly isFinal: (problem: unknown) => boolean;
	/** ms; a trouble that comes back sooner is the one before */
	readonly sameWithinMs?: number;
};

export const firstPauseMs = 1000;

/**
 * Runs `attempt` again and again until the signal aborts. The pause doubles up to the longest, with
 * jitter, so that two servers that lost each other do not knock in step. An attempt that was healthy
 * resets it, but not before it has stayed so for a while: what fails moments after it began to work fails
 * for the same reason as before.
 */
export async function keepTrying(
	attempt: (healthy: () => void) => Promise<void>,
	{ signal, longestMs, onRetry, isFinal, sameWithinMs = sameTroubleMs }: KeepTryingOptions,
): Promise<void> {
	let delayMs = firstPauseMs;
	while (!signal.aborted) {
		let problem: unknown;
		let healthySince: number | undefined;
		try {
			await attempt(() => {
				healthySince ??= performance.now();
			});
		} catch (error) {
			problem = error;
		}
		if (signal.aborted) return;
		if (healthySince !== undefined && performance.now() - healthySince >= sameWithinMs) {
			delayMs = firstPauseMs;
		}
		if (problem === undefined) continue;
		if (isFinal(problem)) throw problem;
		const limitMs = longestMs(problem);
		const jittered = Math.min(delayMs, limitMs) * (0.75 + Math.random() / 4);
		onRetry(problem, jittered);
		await sleep(jittered, undefined, { signal }).catch(() => undefined);
		// Where the limit is no more than the first pause, time alone says nothing of the next trouble.
		if (limitMs > firstPauseMs) delayMs = Math.min(delayMs * 2, limitMs);
	}
}
