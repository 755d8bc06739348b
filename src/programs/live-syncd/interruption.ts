/** Somebody told `start` to end, and it has ended what it had begun. */
export class Interrupted extends Error {
	readonly by: NodeJS.Signals;

	constructor(by: NodeJS.Signals) {
		super(`ended by ${by}: nothing was started`);
		this.by = by;
	}
}

/** The wish to end, while there is no loop that it would have to end. */
export class Interruption {
	readonly #told = new AbortController();
	readonly signal = this.#told.signal;
	readonly #signals = ["SIGTERM", "SIGINT", "SIGHUP"] as const;
	readonly #end = (name: NodeJS.Signals) => this.#told.abort(new Interrupted(name));

	constructor() {
		for (const name of this.#signals) process.on(name, this.#end);
	}

	/** From here on the signals mean again what they mean to others. */
	over(): void {
		for (const name of this.#signals) process.off(name, this.#end);
	}
}
