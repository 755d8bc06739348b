import type { ZimbraPaths } from "../../services/paths.ts";
import { currentInode, type OpenLog, openLog } from "../../services/redolog/open-log.ts";
import { Wake } from "../../services/wake.ts";

/** Logs that are held at most: a mirror that is further behind finds the rest in the archive. */
const maxHeld = 256;

/**
 * Holds open the redo logs that come after the one being sent, from the moment they are seen, also
 * while the mirror is slow: what is held open cannot be taken away by a delete-on-rollover or an
 * incremental backup.
 */
export class HeldLogs implements AsyncDisposable {
	readonly #zimbra: ZimbraPaths;
	readonly #held: OpenLog[] = [];
	readonly #ended = new AbortController();
	readonly #watching: Promise<void>;
	#lastInode: number | undefined;

	constructor(zimbra: ZimbraPaths, pollMs: number) {
		this.#zimbra = zimbra;
		this.#watching = this.#watch(pollMs);
	}

	/** The log of that sequence, if it is held; its owner is then the caller. Older ones are closed. */
	async take(sequence: number): Promise<OpenLog | undefined> {
		await this.#look();
		let found: OpenLog | undefined;
		for (const log of this.#held.splice(0)) {
			if (log.header.sequence > sequence) this.#held.push(log);
			else if (log.header.sequence === sequence && found === undefined) found = log;
			else await log.file.close();
		}
		return found;
	}

	async [Symbol.asyncDispose](): Promise<void> {
		this.#ended.abort();
		await this.#watching;
		for (const { file } of this.#held.splice(0)) await file.close();
	}

	async #watch(pollMs: number): Promise<void> {
		using wake = new Wake([this.#zimbra.redolog], pollMs, "renames");
		while (!this.#ended.signal.aborted) {
			// What cannot be opened now is looked at again at the next event or poll.
			await this.#look().catch(() => undefined);
			await wake.wait(this.#ended.signal);
		}
	}

	async #look(): Promise<void> {
		const inode = await currentInode(this.#zimbra);
		if (inode === undefined || inode === this.#lastInode || this.#held.length >= maxHeld) return;
		const log = await openLog(this.#zimbra.currentLog);
		if (log === undefined) return;
		if (log.inode === this.#lastInode) {
			await log.file.close();
			return;
		}
		this.#lastInode = log.inode;
		this.#held.push(log);
	}
}
