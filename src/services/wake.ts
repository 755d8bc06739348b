import { type FSWatcher, watch } from "node:fs";

/**
 * Says when something may have changed in some directories: at a file event, and without one after
 * a while all the same, since events can be lost (a full queue) or never come (NFS).
 */
export class Wake implements Disposable {
	readonly #watchers: FSWatcher[] = [];
	readonly #pollMs: number;
	#happened = false;
	#notify: (() => void) | undefined;

	/**
	 * A directory that cannot be watched is polled only.
	 * @param which renames: only names that come and go, not what is written
	 */
	constructor(directories: readonly string[], pollMs: number, which: "all" | "renames" = "all") {
		this.#pollMs = pollMs;
		for (const directory of directories) {
			try {
				const watcher = watch(directory, (event) => {
					if (which === "all" || event === "rename") this.ring();
				});
				watcher.on("error", () => watcher.close());
				this.#watchers.push(watcher);
			} catch {
				// Polled; a directory that is not there yet may come.
			}
		}
	}

	/** Ends the wait that is under way, or the next one. */
	ring(): void {
		this.#happened = true;
		this.#notify?.();
	}

	/** Returns at the next event since the last call, after the poll time, or when aborted. */
	async wait(signal: AbortSignal): Promise<void> {
		if (!this.#happened && !signal.aborted) {
			const { promise, resolve: end } = Promise.withResolvers<void>();
			const timer = setTimeout(end, this.#pollMs);
			const aborted = () => end();
			signal.addEventListener("abort", aborted, { once: true });
			this.#notify = end;
			await promise;
			// However it ended: a listener left behind at each poll would add up over months.
			clearTimeout(timer);
			signal.removeEventListener("abort", aborted);
			this.#notify = undefined;
		}
		this.#happened = false;
	}

	[Symbol.dispose](): void {
		for (const watcher of this.#watchers) watcher.close();
		this.ring();
	}
}
