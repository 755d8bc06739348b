import { LagClock, type Lags } from "../../formats/lag.ts";
import type { LogPosition } from "../../formats/protocol/messages.ts";
import { formatPosition, type Position } from "../../formats/redolog/position.ts";
import type { LinkPhase, RedoState, ReplayState } from "../../formats/state.ts";
import { type Moment, now } from "../../services/clock.ts";
import type { Logger } from "../../services/log/logger.ts";
import { Problems } from "../problems.ts";

/** Behind the live end by less than this, the mirror streams; by more, it is catching up. */
const streamingBytes = 4 << 20;

/** All that the redo loop knows of itself, kept by its parts and published as one state. */
export class RedoStatus {
	readonly problems: Problems<string>;
	readonly #peer: string;
	readonly #log: Logger;
	readonly #lag: LagClock;
	#phase: LinkPhase = "connecting";
	#received: Position | undefined;
	#flushed: LogPosition | undefined;
	#verified: string | undefined;
	#replayed: LogPosition | undefined;
	#live: { position: Position; clock: number } | undefined;
	#heardAt: Moment | undefined;
	#replay: ReplayState = {
		phase: "idle",
		runs: 0,
		operations: 0,
		failedOperations: 0,
		operationsAtRisk: 0,
	};

	constructor(peer: string, heartbeatFreshMs: number, log: Logger) {
		this.#peer = peer;
		this.#lag = new LagClock(heartbeatFreshMs);
		this.#log = log;
		this.problems = new Problems(log);
	}

	get flushed(): LogPosition | undefined {
		return this.#flushed;
	}

	get replayed(): LogPosition | undefined {
		return this.#replayed;
	}

	setPhase(phase: LinkPhase): void {
		if (phase === this.#phase) return;
		this.#phase = phase;
		const at = this.#flushed && formatPosition(this.#flushed);
		// Each attempt of an outage would tell it twice, and the outage itself is told.
		const attempt = this.problems.has("link") && (phase === "connecting" || phase === "waiting");
		this.#log[attempt ? "debug" : "info"]({ flushed: at }, phase);
	}

	setReceived(position: Position | undefined): void {
		this.#received = position;
	}

	setFlushed(position: LogPosition): void {
		this.#flushed = position;
		this.#judgePhase();
	}

	setVerified(name: string): void {
		this.#verified = name;
		this.#log.info({ archive: name }, "archive complete, identical with the live one");
	}

	setReplayed(position: LogPosition): void {
		this.#replayed = position;
	}

	setReplay(state: ReplayState): void {
		this.#replay = state;
	}

	heard(position: Position, clock: number): void {
		this.#heardAt = now();
		this.#live = { position, clock };
		this.#lag.heard(position, this.#heardAt.monotonic);
		this.#judgePhase();
	}

	leastLags(): Lags {
		const { monotonic } = now();
		const least = (position: Position | undefined) =>
			position && this.#lag.leastLagSeconds(position, monotonic);
		return { flushed: least(this.#flushed), replayed: least(this.#replayed) };
	}

	snapshot(): RedoState {
		const at = now();
		const flushed = this.#flushed;
		const lag = (position: Position | undefined) =>
			position === undefined ? undefined : this.#lag.lagSeconds(position, at.monotonic);
		return {
			version: 1,
			pid: process.pid,
			at,
			phase: this.#phase,
			peer: this.#peer,
			received: plain(this.#received),
			flushed: plain(flushed),
			verified: this.#verified,
			replayed: plain(this.#replayed),
			live: this.#live,
			heardAt: this.#heardAt,
			flushLagBytes: flushed && this.#lag.lagBytes(flushed, at.monotonic),
			flushLagSeconds: lag(flushed),
			replay: { ...this.#replay, lagSeconds: lag(this.#replayed) },
			problems: this.problems.list(),
		};
	}

	#judgePhase(): void {
		if (this.#phase === "stopped" || this.#phase === "waiting") return;
		const bytes = this.#flushed && this.#lag.lagBytes(this.#flushed, now().monotonic);
		if (bytes === undefined) return;
		if (bytes <= streamingBytes) this.setPhase("streaming");
		else if (this.#phase === "connecting") this.setPhase("catching up");
	}
}

const plain = (position: Position | undefined): Position | undefined =>
	position && { sequence: position.sequence, offset: position.offset };
