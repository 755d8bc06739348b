import { setTimeout as sleep } from "node:timers/promises";
import type { RedoState } from "../../formats/state.ts";
import type { Config } from "../../services/config.ts";
import { readPidFile } from "../../services/pid-file.ts";
import { readPublished } from "../../services/publish.ts";

/**
 * A wait that a replay run under way does not use up: it may take its time as long as it makes progress,
 * and a copy of LDAP is not put in use beside it. The redo loop itself ends a run that makes none.
 */
export class Patience {
	readonly #config: Config;
	#limitMs = 0;
	#deadline = 0;
	#publishedAt = 0;
	#toldOfRun = false;

	constructor(config: Config) {
		this.#config = config;
	}

	allow(limitMs: number): void {
		this.#limitMs = limitMs;
		this.#deadline = performance.now() + limitMs;
	}

	/** Waits a moment; false once the time allowed is over. */
	async lasts(): Promise<boolean> {
		await sleep(100);
		const { base } = this.#config;
		const state = await readPublished<RedoState>(base.stateRedo, 1);
		const running = state?.replay.phase === "running";
		if (running && state.at.monotonic !== this.#publishedAt) {
			// The state of a loop that was killed says "running" for ever.
			if ((await readPidFile(base.pidRedo))?.pid === state.pid) this.#renew();
			this.#publishedAt = state.at.monotonic;
		}
		return performance.now() < this.#deadline;
	}

	#renew(): void {
		this.#deadline = performance.now() + this.#limitMs;
		if (this.#toldOfRun) return;
		this.#toldOfRun = true;
		const limit = this.#config.settings.replay_timeout / 1000;
		process.stdout.write(
			`Waiting for a replay run to end; one that makes no progress is ended after ${limit} s (replay_timeout)...\n`,
		);
	}
}
