import { setTimeout as sleep } from "node:timers/promises";

export type KeepTryingOptions = {
	readonly signal: AbortSignal;
	/** ms; the first delay is one second or this, whichever is less */
	readonly longestMs: number;
	/** told of what was thrown, and how long the pause is going to be */
	readonly onRetry: (problem: unknown, delayMs: number) => void;
	/** errors that no further attempt can mend: they are thrown on */
	readonly isFinal: (problem: unknown) => boolean;
};

/**
 * Runs `attempt` again and again until the signal aborts. The pause doubles up to the longest, with
 * jitter, so that two servers that lost each other do not knock in step; progress, told by `healthy`,
 * resets it.
 */
export async function keepTrying(
	attempt: (healthy: () => void) => Promise<void>,
	{ signal, longestMs, onRetry, isFinal }: KeepTryingOptions,
): Promise<void> {
	const shortestMs = Math.min(1000, longestMs);
	let delayMs = shortestMs;
	const healthy = () => {
		delayMs = shortestMs;
	};
	while (!signal.aborted) {
		let problem: unknown;
		try {
			await attempt(healthy);
		} catch (error) {
			problem = error;
		}
		if (signal.aborted) return;
		if (problem === undefined) continue;
		if (isFinal(problem)) throw problem;
		const jittered = delayMs * (0.75 + Math.random() / 4);
		onRetry(problem, jittered);
		await sleep(jittered, undefined, { signal }).catch(() => undefined);
		delayMs = Math.min(delayMs * 2, longestMs);
	}
}
