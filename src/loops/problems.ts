import { describe, hintOf, Refusal } from "../errors.ts";
import type { Problem } from "../formats/state.ts";
import type { Logger } from "../services/log/logger.ts";
import { onServer } from "../services/manual.ts";

/** What should have mended itself by now needs a person: the reboot of a live server is over. */
const shippedSeriousAfterMs = 15 * 60_000;
/** A trouble that comes back sooner was not gone: longer than any pause between two tries of a link. */
export const sameTroubleMs = 60_000;

type Known = {
	readonly problem: Problem;
	/** ms on a monotonic clock */
	readonly began: number;
	/** as the log has it; undefined where the log says that it is mended */
	readonly told:
		| { readonly code: string; readonly message: string; readonly critical: boolean }
		| undefined;
	/** It came back at least once. It may do so at any time, so the log has it as mended only when it stays away. */
	readonly comesBack: boolean;
};

type Mended = {
	readonly known: Known;
	/** ms on a monotonic clock */
	readonly at: number;
	readonly forgetting: NodeJS.Timeout;
};

/**
 * What is wrong with a loop just now, by topic. A condition that lasts is told to the log once, again
 * when it has become another one or lasts for long, which makes it critical, and when it ends; `status`
 * shows it with the figures of the moment. One that comes back moments after its end is the same one: it
 * keeps its beginning, and the log does not repeat it each time.
 */
export class Problems<Topic extends string> {
	readonly #log: Logger;
	readonly #seriousAfterMs: number;
	readonly #sameWithinMs: number;
	readonly #known = new Map<Topic, Known>();
	readonly #mended = new Map<Topic, Mended>();

	constructor(
		log: Logger,
		seriousAfterMs = shippedSeriousAfterMs,
		sameWithinMs: number = sameTroubleMs,
	) {
		this.#log = log;
		this.#seriousAfterMs = seriousAfterMs;
		this.#sameWithinMs = sameWithinMs;
	}

	/** An error as it was caught; a Refusal stands until a person acts, unless told otherwise. */
	report(topic: Topic, error: unknown, critical = error instanceof Refusal): void {
		const hint = hintOf(error);
		this.note(topic, {
			code: error instanceof Refusal ? error.code : "trouble",
			message: describe(error),
			...(hint === undefined ? {} : { hint }),
			critical,
		});
	}

	/** The same, as a part of the loop puts it itself. */
	note(topic: Topic, given: Omit<Problem, "since">): void {
		const { code, message } = given;
		const hint = given.hint === undefined ? undefined : onServer(given.hint);
		const problem = hint === undefined ? given : { ...given, hint };
		const known = this.#known.get(topic) ?? this.#takeBack(topic);
		const began = known?.began ?? performance.now();
		const critical = problem.critical || (known !== undefined && this.#isSerious(began));
		const told = known?.told;
		this.#known.set(topic, {
			problem: { ...problem, since: known?.problem.since ?? Date.now() },
			began,
			told: { code, message, critical },
			comesBack: known?.comesBack ?? false,
		});
		const same = told?.code === code && words(told.message) === words(message);
		if (same && critical === told.critical) return;
		const facts = { code, hint };
		if (critical) this.#log.error(facts, `${topic}: ${message}`);
		else this.#log.warn(facts, `${topic}: ${message}`);
	}

	resolved(topic: Topic): void {
		const known = this.#known.get(topic);
		if (known === undefined) return;
		this.#known.delete(topic);
		const at = performance.now();
		const tell = () => {
			const seconds = Math.round((at - known.began) / 1000);
			this.#log.info({ code: known.problem.code, afterSeconds: seconds }, `${topic}: mended`);
		};
		if (!known.comesBack) tell();
		const forgetting = setTimeout(() => {
			this.#mended.delete(topic);
			if (known.comesBack) tell();
		}, this.#sameWithinMs);
		forgetting.unref();
		const told = known.comesBack ? known.told : undefined;
		this.#mended.set(topic, { known: { ...known, told }, at, forgetting });
	}

	has(topic: Topic): boolean {
		return this.#known.has(topic);
	}

	list(): Problem[] {
		return [...this.#known.values()].map(({ problem, began }) => ({
			...problem,
			critical: problem.critical || this.#isSerious(began),
		}));
	}

	/** What was mended a moment ago, and has come back. */
	#takeBack(topic: Topic): Known | undefined {
		const mended = this.#mended.get(topic);
		if (mended === undefined) return undefined;
		clearTimeout(mended.forgetting);
		this.#mended.delete(topic);
		// A process that was stopped meanwhile has missed its timer.
		if (performance.now() - mended.at > this.#sameWithinMs) return undefined;
		return { ...mended.known, comesBack: true };
	}

	#isSerious(began: number): boolean {
		return performance.now() - began >= this.#seriousAfterMs;
	}
}

/** Free space, positions, process ids: with other figures it is still the same condition. */
const words = (message: string): string => message.replaceAll(/\d+/g, "0");
