import { setTimeout as sleep } from "node:timers/promises";

/**
 * Does a small task now and every so often until the signal aborts. What it throws is passed over: a
 * full disk under a state file must not end a loop, and what it means is told by the loop's own work.
 */
export async function regularly(
	everyMs: number,
	signal: AbortSignal,
	task: () => Promise<unknown>,
): Promise<void> {
	while (!signal.aborted) {
		await task().catch(() => undefined);
		await sleep(everyMs, undefined, { signal }).catch(() => undefined);
	}
}
