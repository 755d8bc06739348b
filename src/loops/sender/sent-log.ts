import { chainStep, DigestChain, linksToTake } from "../../formats/redolog/digest-chain.ts";
import { headerSize } from "../../formats/redolog/header.ts";
import { readAt } from "../../services/files.ts";
import { extendChain } from "../../services/redolog/extend-chain.ts";
import type { KeptLinks } from "../../services/redolog/kept-links.ts";
import type { OpenLog } from "../../services/redolog/open-log.ts";

/** Bytes before the end that are read again each time the log has grown. */
const quickLook = 1024;

/**
 * What was sent of one log: its digest, and its last bytes. After a crash of mailboxd its recovery
 * cuts a torn record off the file and goes on from there, so bytes that were sent may be gone, and
 * others may stand in their place.
 */
export class SentLog {
	readonly log: OpenLog;
	readonly #chain: DigestChain;
	readonly #kept: KeptLinks;
	/** the last bytes that were sent, between one and two links; they begin where a link ends */
	#tail: Buffer[] = [];
	#tailFrom = headerSize;

	private constructor(log: OpenLog, chain: DigestChain, kept: KeptLinks) {
		this.log = log;
		this.#chain = chain;
		this.#kept = kept;
	}

	/** @param chain stands at the offset up to which the mirror has the file */
	static async at(log: OpenLog, chain: DigestChain, kept: KeptLinks): Promise<SentLog> {
		const sent = new SentLog(log, chain, kept);
		await sent.#holdTail();
		return sent;
	}

	get offset(): number {
		return this.#chain.offset;
	}

	digest(): Buffer {
		return this.#chain.digest();
	}

	async add(bytes: Buffer): Promise<void> {
		const before = this.#chain.links.length;
		this.#chain.update(bytes);
		await this.#kept.write(before, this.#chain.links.slice(before));
		this.#tail.push(bytes);
		this.#trimTail();
	}

	/**
	 * Where the file is no longer what was sent; undefined where it still is. Throws where the file has
	 * lost more than is held here: the true byte is known only to both sides together, and they find it
	 * when the mirror connects anew (see compare-prefix.ts). A guess would take from the mirror what
	 * the live server still has.
	 * @param size of the file now
	 * @param suspicious reads all that is held and more, not only the last bytes
	 */
	async findCut(size: number, suspicious: boolean): Promise<number | undefined> {
		if (!suspicious && size >= this.offset) {
			const held = this.#last(Math.min(quickLook, this.offset - this.#tailFrom));
			const there = await readAt(this.log.file, this.offset - held.length, held.length);
			if (there.equals(held)) return undefined;
		}
		const held = this.#last(this.offset - this.#tailFrom);
		const length = Math.min(size - this.#tailFrom, held.length);
		if (length < 0 || !(await this.#linksHold())) {
			await this.#kept.forget();
			throw new Error(
				`a restart of mailboxd has cut ${this.log.path}, more than ${Math.floor(held.length / chainStep)} MiB before ${this.offset}; the mirror connects again and compares to find the byte`,
			);
		}
		const there = await readAt(this.log.file, this.#tailFrom, length);
		const same = commonPrefix(held, there);
		return same === held.length ? undefined : this.#tailFrom + same;
	}

	/**
	 * Whether the file still bears out the links below what is held. A message that a crash has torn
	 * comes again, often to the same place and with the same length: its end is the same, and its
	 * beginning is not.
	 */
	async #linksHold(): Promise<boolean> {
		const { links } = this.#chain;
		const below = (this.#tailFrom - headerSize) / chainStep;
		if (below === 0) return true;
		const chain = new DigestChain(links.slice(0, linksToTake(this.#tailFrom)));
		await extendChain(this.log.file, chain, this.#tailFrom, new AbortController().signal);
		return links[below - 1]?.equals(chain.links[below - 1] ?? Buffer.alloc(0)) === true;
	}

	/** Forgets what was sent behind `offset`. */
	async cut(offset: number, signal: AbortSignal): Promise<void> {
		this.#chain.rewind(offset);
		await extendChain(this.log.file, this.#chain, offset, signal);
		await this.#holdTail();
	}

	/** The last bytes of the tail; for a few, no copy of all that is held. */
	#last(length: number): Buffer {
		const newest = this.#tail.at(-1);
		if (newest !== undefined && newest.length >= length) {
			return newest.subarray(newest.length - length);
		}
		const all = Buffer.concat(this.#tail);
		return all.subarray(all.length - length);
	}

	async #holdTail(): Promise<void> {
		this.#tailFrom = this.#tailBegins();
		this.#tail = [await readAt(this.log.file, this.#tailFrom, this.offset - this.#tailFrom)];
	}

	#trimTail(): void {
		let surplus = this.#tailBegins() - this.#tailFrom;
		this.#tailFrom += surplus;
		while (surplus > 0) {
			const [oldest = Buffer.alloc(0)] = this.#tail;
			if (oldest.length > surplus) this.#tail[0] = oldest.subarray(surplus);
			else this.#tail.shift();
			surplus -= Math.min(surplus, oldest.length);
		}
	}

	/** What lies before it is known by whole links. */
	#tailBegins(): number {
		return headerSize + Math.max(0, this.#chain.links.length - 1) * chainStep;
	}
}

function commonPrefix(a: Buffer, b: Buffer): number {
	const length = Math.min(a.length, b.length);
	let same = 0;
	while (same < length && a[same] === b[same]) same++;
	return same;
}
