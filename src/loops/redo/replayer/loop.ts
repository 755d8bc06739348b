import { setTimeout as sleep } from "node:timers/promises";
import { describe, Refusal } from "../../../errors.ts";
import {
	comparePositions,
	type LogIdentity,
	type Position,
	sameLog,
} from "../../../formats/redolog/position.ts";
import { retryDelay } from "../../../formats/replay/decision.ts";
import type { ReplayedPosition } from "../../../formats/replay/replayed-position.ts";
import { rewind } from "../../../formats/replay/rewind.ts";
import { type LastRun, nextRunAt } from "../../../formats/replay/schedule.ts";
import type { ReplayState } from "../../../formats/state.ts";
import { now } from "../../../services/clock.ts";
import { type HeldLock, takeLock } from "../../../services/lock.ts";
import { readRunRecord, writeRunRecord } from "../../../services/zimbra/run-record.ts";
import { mustWithdraw } from "../withdrawals.ts";
import { attemptReplay, located } from "./attempt.ts";
import { listKept } from "./kept-operations.ts";
import { openFlushedLogs } from "./logs.ts";
import { readReplayed, writeReplayed } from "./position.ts";
import type { Said } from "./remarks.ts";
import type { Covered, Replayer, ReplayerParts, ReplayResult } from "./replayer.ts";
import { outliveOrphan } from "./run.ts";
import { refuseBesideMailboxd } from "./services.ts";
import { nameAtRisk } from "./settle.ts";

const pollMs = 1000;
const stoppedPollMs = 10_000;

export function makeReplayer(parts: ReplayerParts): Replayer {
	return new ReplayLoop(parts);
}

class ReplayLoop implements Replayer {
	readonly #parts: ReplayerParts;
	#state: ReplayState = {
		phase: "idle",
		runs: 0,
		operations: 0,
		failedOperations: 0,
		operationsAtRisk: 0,
	};
	#idleAttempts = 0;
	readonly #said: Said = new Set();

	/** the last cut of the live log, and what LDAP was said to cover then */
	#cut: { readonly at: Position; readonly covered: Position; readonly noted: number } | undefined;

	constructor(parts: ReplayerParts) {
		this.#parts = { ...parts, coverage: () => this.#coverage(parts) };
	}

	get state(): ReplayState {
		return this.#state;
	}

	async replay({
		upTo,
		signal,
	}: {
		readonly upTo: "settled" | "everything";
		readonly signal: AbortSignal;
	}): Promise<ReplayResult> {
		const { settings } = this.#parts.config;
		const startedAt = Date.now();
		let result: ReplayResult;
		{
			await using lock = await this.#lock("replay", signal, settings.service_timeout);
			this.#tell({ phase: "running" });
			const idleAttempts = this.#idleAttempts;
			const said = this.#said;
			try {
				result = await attemptReplay(this.#parts, lock, { upTo, signal, idleAttempts, said });
			} catch (error) {
				this.#tell({ phase: "retrying" });
				throw error;
			}
		}
		await this.#account(result, startedAt);
		return result;
	}

	async replayEverything(signal: AbortSignal): Promise<ReplayResult> {
		const { service_timeout } = this.#parts.config.settings;
		const deadline = performance.now() + service_timeout;
		for (;;) {
			const result = await this.replay({ upTo: "everything", signal });
			if (result.kind === "up to date" || result.kind === "stopped") return result;
			if (result.kind !== "retry") continue;
			if (performance.now() + result.afterMs > deadline) return result;
			this.#parts.log.warn({ why: result.why, afterMs: result.afterMs }, "replay did not begin");
			await sleep(result.afterMs, undefined, { signal });
		}
	}

	async keepReplaying(signal: AbortSignal): Promise<void> {
		const { settings } = this.#parts.config;
		const schedule = { intervalMs: settings.replay_interval, share: settings.replay_share };
		let last: LastRun | undefined;
		let notBefore = 0;
		let failures = 0;
		let told: "nothing" | "trouble" | "state" = "nothing";
		while (!signal.aborted) {
			const startedAt = performance.now();
			try {
				await refuseBesideMailboxd(this.#parts);
				if (startedAt < notBefore) continue;
				// Trouble with what comes before a run is over without one.
				if (told === "nothing" || (told === "trouble" && !(await this.#hasNews()))) {
					const position = await this.#position();
					await this.#account({ kind: "up to date", position }, Date.now());
					told = "state";
				}
				if (startedAt < nextRunAt(last, schedule) || !(await this.#hasNews())) continue;
				const result = await this.replay({ upTo: "settled", signal });
				last = { startedAt, endedAt: performance.now() };
				failures = 0;
				told = "state";
				notBefore = performance.now() + pauseAfter(result);
			} catch (error) {
				if (signal.aborted) return;
				if (mustWithdraw(error)) throw error;
				told = "trouble";
				notBefore = performance.now() + this.#tellFailure(error, failures++);
				// A position file that comes back may be an old one, and what it does not know is executed again.
				if (error instanceof Refusal && error.code === "position-lost") {
					notBefore = Number.POSITIVE_INFINITY;
				}
			} finally {
				await sleep(Math.min(pollMs, settings.replay_interval), undefined, { signal }).catch(
					() => undefined,
				);
			}
		}
	}

	/** Gives ms until replay is tried again: what stops it does not stop receiving. */
	#tellFailure(error: unknown, failures: number): number {
		if (!(error instanceof Refusal)) {
			this.#problem("trouble", `replay: ${describe(error)}`);
			return retryDelay(failures);
		}
		const { code, message, hint } = error;
		this.#parts.events.onProblem({ code, message, hint, critical: true });
		// A log that was missing may be put back.
		return stoppedPollMs;
	}

	async reaches(identity: LogIdentity, offset: number): Promise<boolean> {
		const { config } = this.#parts;
		const beyond = (log: LogIdentity, at: number) => sameLog(log, identity) && at > offset;
		return (
			beyond(...endOf(await readReplayed(config))) ||
			beyond(...endOf((await readRunRecord(config))?.next))
		);
	}

	async cut(identity: LogIdentity, offset: number, signal: AbortSignal): Promise<void> {
		const { config, log } = this.#parts;
		await this.#noteCut({ sequence: identity.sequence, offset });
		const beyond = (log: LogIdentity, at: number) => sameLog(log, identity) && at > offset;
		// Nearly every cut is of a torn record that no run has come to. Then receiving must not wait for
		// the lock, which a run may hold for long; a run that begins now goes no further than what has
		// settled, and the cut is no longer among that.
		if (!(await this.reaches(identity, offset))) return;
		await using _lock = await this.#lock("cut", signal, config.settings.link_timeout);
		const position = await readReplayed(config);
		const record = await readRunRecord(config);
		const next = record?.next;
		const recordToo = next !== undefined && beyond(next.log, next.offset);
		if (!beyond(position.log, position.offset) && !recordToo) return;
		await using opened = await openFlushedLogs(config, position);
		const current = opened.logs.find((each) => sameLog(each.identity, identity));
		if (current === undefined) return;
		const rewound = rewind(position, current, offset);
		if (rewound.lost.length > 0) {
			throw new Refusal(
				"divergence",
				`${rewound.lost.length} operations were replayed here that the live server has lost when it cut redo log ${identity.sequence} at ${offset}: ${rewound.lost
					.slice(0, 5)
					.map(({ id, name, mailboxId }) => `${name} ${id} in mailbox ${mailboxId}`)
					.join(", ")}`,
				"nothing was changed; this mirror has history of its own: docs/runbooks.md, divergence",
			);
		}
		if (record !== undefined && recordToo) {
			// It began behind the cut and is forgotten with that; what it did is still not known.
			const forgotten = rewound.position !== position && record.report === undefined;
			if (forgotten) await nameAtRisk(this.#parts, position, record);
			// A run of which nobody knows the end may have executed what is cut: as if it had.
			const next = rewind(record.next, current, offset).position;
			await writeRunRecord(config, { ...record, next });
		}
		if (rewound.position === position) return;
		await writeReplayed(config, rewound.position);
		log.warn(
			{ log: identity.sequence, offset, executed: rewound.position.executed.length },
			"the live server has cut its log below what was replayed here; what it commits again is left out",
		);
		this.#parts.events.onReplayed(located(rewound.position));
	}

	async #noteCut(at: Position): Promise<void> {
		const covered = await this.#parts.coverage();
		if (covered === "all" || covered === undefined || comparePositions(covered, at) <= 0) return;
		// A log is cut before it is rolled over, so whoever has seen the next one speaks of what came after.
		if (covered.sequence > at.sequence) return;
		this.#cut = { at, covered, noted: now().monotonic };
	}

	/**
	 * What comes in place of what was cut came after the LDAP copy: until the LDAP loop has heard of the
	 * cut too, and says something else, or the same again, the copy covers no more than what is left.
	 */
	async #coverage(parts: ReplayerParts): Promise<Covered | "all" | undefined> {
		const said = await parts.coverage();
		if (this.#cut === undefined || said === "all" || said === undefined) return said;
		const { at, covered, noted } = this.#cut;
		// What was under way when the cut was heard of has come by then, or its link counts as cut.
		const saidAgain = (said.saidAt ?? 0) > noted + parts.config.settings.link_timeout;
		if (comparePositions(said, covered) === 0 && !saidAgain) return at;
		this.#cut = undefined;
		return said;
	}

	/** Whether a look under the lock is worth it: more has settled, or a run has to be settled. */
	async #hasNews(): Promise<boolean> {
		const record = await readRunRecord(this.#parts.config);
		if (record !== undefined) return record.phase !== "stopped" || this.#state.phase !== "stopped";
		const settled = this.#parts.settled();
		if (settled === undefined) return false;
		const { log, offset } = await readReplayed(this.#parts.config);
		return comparePositions(settled, { sequence: log.sequence, offset }) > 0;
	}

	async #position() {
		return located(await readReplayed(this.#parts.config));
	}

	/** @param tellAfterMs a wait that is longer is told */
	async #lock(purpose: string, signal: AbortSignal, tellAfterMs: number): Promise<HeldLock> {
		const { config, log, events } = this.#parts;
		let told = false;
		const tell = (holder: string) => {
			told = true;
			events.onWait(holder);
		};
		try {
			return await takeLock(config.base.lock, {
				purpose,
				signal,
				log,
				onLongWait: { afterMs: tellAfterMs, tell },
				onOrphans: () =>
					outliveOrphan(this.#parts, signal, () => tell("a replay run whose loop has died")),
			});
		} finally {
			if (told) events.onWait(undefined);
		}
	}

	/** Brings state, log and problems up to date with a result. */
	async #account(result: ReplayResult, startedAt: number): Promise<void> {
		const { events, log } = this.#parts;
		const counts = await this.#countKept();
		const ran = !["up to date", "passed", "stopped"].includes(result.kind);
		const endedAt = Date.now();
		const operations = result.kind === "replayed" ? result.operations : 0;
		this.#idleAttempts = result.kind === "retry" ? this.#idleAttempts + 1 : 0;
		this.#tell({
			phase: phaseAfter(result),
			runs: this.#state.runs + (ran ? 1 : 0),
			operations: this.#state.operations + operations,
			...counts,
			...(ran && { lastRun: { endedAt, tookMs: endedAt - startedAt, operations } }),
		});
		switch (result.kind) {
			case "up to date":
			case "passed":
			case "replayed":
				events.onReplayed(result.position);
				events.onProblem(undefined);
				break;
			case "retry":
				this.#problem("trouble", `replay did not begin: ${result.why}`);
				break;
			case "re-run":
				this.#problem("trouble", `replay ended, and nobody knows what it did: ${result.why}`);
				break;
			case "stopped":
				events.onProblem({
					code: "replay-stopped",
					message: `replay has stopped: ${result.why}`,
					hint: result.hint,
					critical: true,
				});
		}
		if (result.kind === "replayed") {
			const { position, failed, setAside } = result;
			const at = `${position.sequence}:${position.offset}`;
			log.info(
				{ position: at, operations, failed, setAside, tookMs: endedAt - startedAt },
				"replayed",
			);
		}
	}

	/** Those of before where they cannot be read: `status` looks for itself, and says so. */
	async #countKept(): Promise<Partial<ReplayState>> {
		const { config, log } = this.#parts;
		try {
			const kept = await listKept(config);
			const count = (kind: string) =>
				kept.reduce((sum, lot) => sum + (lot.kind === kind ? lot.count : 0), 0);
			return {
				failedOperations:
					count("failed") + count("set aside") + count("left out") + count("exported"),
				operationsAtRisk: count("at risk"),
			};
		} catch (error) {
			log.error({ reason: describe(error) }, "what was kept of failed operations cannot be read");
			return {};
		}
	}

	#problem(code: string, message: string): void {
		this.#parts.events.onProblem({ code, message, critical: false });
	}

	#tell(change: Partial<ReplayState>): void {
		this.#state = { ...this.#state, ...change };
		this.#parts.events.onState(this.#state);
	}
}

/** The log and the offset of a position; of none, the beginning of nothing. */
function endOf(position: ReplayedPosition | undefined): [LogIdentity, number] {
	const nowhere = { serverId: "", sequence: -1, createTime: 0, timeline: 0 };
	return position === undefined ? [nowhere, 0] : [position.log, position.offset];
}

function phaseAfter(result: ReplayResult): ReplayState["phase"] {
	switch (result.kind) {
		case "up to date":
		case "passed":
		case "replayed":
			return "idle";
		case "retry":
		case "re-run":
			return "retrying";
		case "stopped":
			return "stopped";
	}
}

/** ms; the schedule of runs comes on top of it. */
function pauseAfter(result: ReplayResult): number {
	if (result.kind === "retry") return result.afterMs;
	return result.kind === "stopped" ? stoppedPollMs : 0;
}
