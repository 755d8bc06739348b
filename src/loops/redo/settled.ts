import { comparePositions, type Position } from "../../formats/redolog/position.ts";

/**
 * Tells up to where bytes have been on disk here for a while. The live server fsyncs its log every
 * 10 ms (zimbraRedoLogFsyncIntervalMS), so what has been here for a second is on its disk too, and a
 * power loss there cannot take it back after it was replayed here.
 */
export class SettledPosition<P extends Position> {
	readonly #settleMs: number;
	#waiting: { position: P; at: number }[] = [];
	#settled: P | undefined;

	constructor(settleMs: number) {
		this.#settleMs = settleMs;
	}

	/** @param at ms on a monotonic clock */
	flushed(position: P, at: number): void {
		const last = this.#waiting.at(-1);
		if (last !== undefined && comparePositions(position, last.position) < 0) this.cut(position);
		// Nobody may ask for days: replay can be stopped while receiving goes on.
		this.at(at);
		this.#waiting.push({ position, at });
		// A busy log is flushed hundreds of times a second: of those close together the last one waits.
		const before = this.#waiting.at(-3);
		if (before !== undefined && at - before.at < this.#settleMs / 10) this.#waiting.splice(-2, 1);
	}

	/** The log was cut: nothing behind that counts. */
	cut(position: P): void {
		this.#waiting = this.#waiting.filter((w) => comparePositions(w.position, position) <= 0);
		if (this.#settled !== undefined && comparePositions(this.#settled, position) > 0) {
			this.#settled = position;
		}
	}

	at(now: number): P | undefined {
		while (this.#waiting[0] !== undefined && now - this.#waiting[0].at >= this.#settleMs) {
			this.#settled = this.#waiting.shift()?.position;
		}
		return this.#settled;
	}
}
