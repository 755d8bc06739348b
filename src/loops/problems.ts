import { describe, hintOf, Refusal } from "../errors.ts";
import type { Problem } from "../formats/state.ts";
import type { Logger } from "../services/log/logger.ts";
import { onServer } from "../services/manual.ts";

/** What should have mended itself by now needs a person: the reboot of a live server is over. */
const shippedSeriousAfterMs = 15 * 60_000;

type Known = {
	readonly problem: Problem;
	/** ms on a monotonic clock */
	readonly began: number;
	readonly toldAsCritical: boolean;
};

/**
 * What is wrong with a loop just now, by topic. A condition that lasts is told to the log once, again
 * when it has become another one or lasts for long, which makes it critical, and when it ends; `status`
 * shows it with the figures of the moment.
 */
export class Problems<Topic extends string> {
	readonly #log: Logger;
	readonly #seriousAfterMs: number;
	readonly #known = new Map<Topic, Known>();

	constructor(log: Logger, seriousAfterMs = shippedSeriousAfterMs) {
		this.#log = log;
		this.#seriousAfterMs = seriousAfterMs;
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
		const known = this.#known.get(topic);
		const began = known?.began ?? performance.now();
		const critical = problem.critical || (known !== undefined && this.#isSerious(began));
		this.#known.set(topic, {
			problem: { ...problem, since: known?.problem.since ?? Date.now() },
			began,
			toldAsCritical: critical,
		});
		const before = known?.problem;
		const same = before?.code === code && words(before.message) === words(message);
		if (same && critical === known?.toldAsCritical) return;
		const facts = { code, hint };
		if (critical) this.#log.error(facts, `${topic}: ${message}`);
		else this.#log.warn(facts, `${topic}: ${message}`);
	}

	resolved(topic: Topic): void {
		const known = this.#known.get(topic);
		if (known === undefined) return;
		this.#known.delete(topic);
		const seconds = Math.round((performance.now() - known.began) / 1000);
		this.#log.info({ code: known.problem.code, afterSeconds: seconds }, `${topic}: mended`);
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

	#isSerious(began: number): boolean {
		return performance.now() - began >= this.#seriousAfterMs;
	}
}

/** Free space, positions, process ids: with other figures it is still the same condition. */
const words = (message: string): string => message.replaceAll(/\d+/g, "0");
