import { chainStep, type DigestChain } from "../../formats/redolog/digest-chain.ts";
import { headerSize } from "../../formats/redolog/header.ts";
import { readAt } from "../../services/files.ts";
import { extendChain } from "../../services/redolog/extend-chain.ts";
import type { KeptLinks } from "../../services/redolog/kept-links.ts";
import type { OpenLog } from "../../services/redolog/open-log.ts";

/** Bytes sent last that are held, so that a cut can be told to the byte. */
const tailRoom = chainStep;
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
	#tail: Buffer[] = [];
	#tailLength = 0;

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
		this.#tailLength += bytes.length;
		while (this.#tailLength - (this.#tail[0]?.length ?? 0) >= tailRoom) {
			this.#tailLength -= this.#tail.shift()?.length ?? 0;
		}
	}

	/**
	 * Where the file is no longer what was sent; undefined where it still is.
	 * @param size of the file now
	 * @param suspicious reads all that is held, not only the last bytes
	 */
	async findCut(size: number, suspicious: boolean): Promise<number | undefined> {
		const all = suspicious || size < this.offset;
		const length = all ? this.#tailLength : Math.min(quickLook, this.#tailLength);
		if (length === 0) return size < this.offset ? this.#searchLinks(size) : undefined;
		const from = this.offset - length;
		const held = this.#last(length);
		const there = await readAt(this.log.file, from, Math.max(0, Math.min(size - from, length)));
		if (there.equals(held)) return undefined;
		if (!all) return await this.findCut(size, true);
		const same = commonPrefix(held, there);
		return same > 0 || from === headerSize ? from + same : await this.#searchLinks(size);
	}

	/** The newest whole link that the file still bears out. */
	async #searchLinks(size: number): Promise<number> {
		const links = [...this.#chain.links];
		for (let whole = links.length; whole > 0; whole--) {
			const end = headerSize + whole * chainStep;
			if (end > size) continue;
			this.#chain.rewind(end - chainStep);
			await extendChain(this.log.file, this.#chain, end, new AbortController().signal);
			if (links[whole - 1]?.equals(this.#chain.links[whole - 1] ?? Buffer.alloc(0))) return end;
		}
		return headerSize;
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
		if (newest !== undefined && newest.length >= length) return newest.subarray(-length);
		return Buffer.concat(this.#tail, this.#tailLength).subarray(this.#tailLength - length);
	}

	async #holdTail(): Promise<void> {
		const from = Math.max(headerSize, this.offset - tailRoom);
		const bytes = await readAt(this.log.file, from, this.offset - from);
		this.#tail = [bytes];
		this.#tailLength = bytes.length;
	}
}

function commonPrefix(a: Buffer, b: Buffer): number {
	const length = Math.min(a.length, b.length);
	let same = 0;
	while (same < length && a[same] === b[same]) same++;
	return same;
}
