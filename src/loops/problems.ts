import { describe, hintOf, Refusal } from "../errors.ts";
import type { Problem } from "../formats/state.ts";
import type { Logger } from "../services/log/logger.ts";

/**
 * What is wrong with a loop just now, by topic. A condition that lasts is told to the log once, again
 * when it has become another one, and when it ends; `status` shows it with the figures of the moment.
 */
export class Problems<Topic extends string> {
	readonly #log: Logger;
	readonly #known = new Map<Topic, Problem>();

	constructor(log: Logger) {
		this.#log = log;
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
	note(topic: Topic, problem: Omit<Problem, "since">): void {
		const { code, message, hint, critical } = problem;
		const known = this.#known.get(topic);
		this.#known.set(topic, { ...problem, since: known?.since ?? Date.now() });
		if (known?.code === code && words(known.message) === words(message)) return;
		const facts = { code, hint };
		if (critical) this.#log.error(facts, `${topic}: ${message}`);
		else this.#log.warn(facts, `${topic}: ${message}`);
	}

	resolved(topic: Topic): void {
		const known = this.#known.get(topic);
		if (known === undefined) return;
		this.#known.delete(topic);
		const seconds = Math.round((Date.now() - known.since) / 1000);
		this.#log.info({ code: known.code, afterSeconds: seconds }, `${topic}: mended`);
	}

	list(): Problem[] {
		return [...this.#known.values()];
	}
}

/** Free space, positions, process ids: with other figures it is still the same condition. */
const words = (message: string): string => message.replaceAll(/\d+/g, "0");
