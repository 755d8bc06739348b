/** When replay runs. All times in ms on one monotonic clock. */
export type Schedule = {
	/** replay_interval */
	readonly intervalMs: number;
	/** replay_share, per cent */
	readonly share: number;
};

export type LastRun = { readonly startedAt: number; readonly endedAt: number };

/**
 * The earliest moment for the next run: an interval after the start of the last, and so late that runs
 * take no more than their share of the time. A run costs the start of a JVM, tens of seconds on a slow
 * host; where that is more than the share allows, runs become rarer.
 */
export function nextRunAt(last: LastRun | undefined, { intervalMs, share }: Schedule): number {
	if (last === undefined) return 0;
	const took = last.endedAt - last.startedAt;
	return Math.max(last.startedAt + intervalMs, last.endedAt + took * (100 / share - 1));
}
