import { comparePositions, type Position } from "./redolog/position.ts";

/** The live log's end, and when (ms on the mirror's monotonic clock) it was heard of. */
type Sample = { readonly position: Position; readonly at: number };

const maxSamples = 4096;

/**
 * Turns positions into time: the lag of a position is the time since the live log stood there. All
 * times are those of one clock that does not jump, the mirror's; the live clock has no part in it.
 */
export class LagClock {
	readonly #freshMs: number;
	#samples: Sample[] = [];

	/** @param freshMs how long a heartbeat says what is now */
	constructor(freshMs: number) {
		this.#freshMs = freshMs;
	}

	/** A heartbeat told the end of the live log. */
	heard(position: Position, at: number): void {
		const last = this.#samples.at(-1);
		if (last !== undefined && comparePositions(last.position, position) === 0) {
			this.#samples[this.#samples.length - 1] = { position, at };
			return;
		}
		this.#samples.push({ position, at });
		// Old samples are thinned, not dropped: after a long outage the oldest is the one that counts.
		if (this.#samples.length > maxSamples) {
			this.#samples = this.#samples.filter((_, i) => i % 2 === 0 || i > maxSamples / 2);
		}
	}

	/**
	 * Seconds since the live log stood at `position`: 0 where nothing is missing by a heartbeat that
	 * is still fresh, undefined where it stood there before anything was heard.
	 */
	lagSeconds(position: Position, now: number): number | undefined {
		const last = this.#samples.at(-1);
		if (last === undefined) return undefined;
		if (comparePositions(position, last.position) >= 0) {
			return this.#isFresh(last, now) ? 0 : (now - last.at) / 1000;
		}
		const at = this.#samples.findLast((s) => comparePositions(s.position, position) <= 0)?.at;
		return at === undefined ? undefined : (now - at) / 1000;
	}

	/**
	 * Seconds by which a position is behind at least: where the live log stood there before anything was
	 * heard, the time since then. Undefined before that.
	 */
	leastLagSeconds(position: Position, now: number): number | undefined {
		const [first] = this.#samples;
		return this.lagSeconds(position, now) ?? (first && (now - first.at) / 1000);
	}

	/**
	 * Bytes that are missing at `position`. Undefined where it cannot be known: nothing was heard, or
	 * nothing lately and all that was there then is here; or there are files in between.
	 */
	lagBytes(position: Position, now: number): number | undefined {
		const last = this.#samples.at(-1);
		if (last === undefined) return undefined;
		const { sequence, offset } = last.position;
		if (comparePositions(position, last.position) >= 0) {
			return this.#isFresh(last, now) ? 0 : undefined;
		}
		return position.sequence === sequence ? offset - position.offset : undefined;
	}

	#isFresh({ at }: Sample, now: number): boolean {
		return now - at <= this.#freshMs;
	}
}

/** Tells how long the store has stood at one position while there was more to replay behind it. */
export class Standstill {
	#position: Position | undefined;
	/** ms; undefined while nothing was missing */
	#since: number | undefined;

	/** ms; 0 where nothing is missing, and as soon as the position moves */
	lastsMs(replayed: Position | undefined, flushed: Position | undefined, now: number): number {
		const missing =
			flushed !== undefined && (replayed === undefined || comparePositions(replayed, flushed) < 0);
		const stood =
			replayed === this.#position ||
			(replayed !== undefined &&
				this.#position !== undefined &&
				comparePositions(replayed, this.#position) === 0);
		this.#position = replayed;
		if (!missing) this.#since = undefined;
		else if (!stood) this.#since = now;
		else this.#since ??= now;
		return this.#since === undefined ? 0 : now - this.#since;
	}
}

/** Lags in seconds, of what is received and flushed here and of the message store; undefined if unknown. */
export type Lags = {
	readonly flushed: number | undefined;
	readonly replayed: number | undefined;
};

/** What is too far behind, in words; undefined where nothing is. Limits in seconds. */
export function judgeLags(lags: Lags, limits: { [K in keyof Lags]: number }): string | undefined {
	const minutes = (seconds: number) => Math.floor(seconds / 60);
	const { flushed = 0, replayed = 0 } = lags;
	if (flushed > limits.flushed) {
		return `the redo log here is ${minutes(flushed)} minutes behind the live one`;
	}
	if (replayed > limits.replayed) {
		return `the message store is ${minutes(replayed)} minutes behind the live server`;
	}
	return undefined;
}
