import { createHash, type Hash } from "node:crypto";
import { headerSize } from "./header.ts";

/** Bytes of a log, after its header, that one link of the chain covers. */
export const chainStep = 1 << 20;
export const digestSize = 32;

/**
 * A digest of a log's bytes after the header, kept so that it can be continued after a restart and
 * compared without hashing everything again: link k is the SHA-256 of link k-1 and the k-th MiB.
 * The digest at an offset is that of the last whole link and the bytes that follow it. The header
 * is left out because Zimbra rewrites it in place.
 */
export class DigestChain {
	readonly #links: Buffer[];
	#running: Hash;
	/** bytes in `#running` after the last whole link */
	#partial = 0;

	/** @param links whole links already known, oldest first */
	constructor(links: readonly Buffer[] = []) {
		this.#links = [...links];
		this.#running = this.#start();
	}

	/** Offset in the file up to which bytes were taken in. */
	get offset(): number {
		return headerSize + this.#links.length * chainStep + this.#partial;
	}

	/** The whole links so far, oldest first. */
	get links(): readonly Buffer[] {
		return this.#links;
	}

	/** Offset of the last whole link: bytes from here on are hashed again after {@link rewind}. */
	get linkOffset(): number {
		return headerSize + this.#links.length * chainStep;
	}

	update(bytes: Uint8Array): void {
		for (let at = 0; at < bytes.length; ) {
			const piece = bytes.subarray(at, at + chainStep - this.#partial);
			this.#running.update(piece);
			this.#partial += piece.length;
			at += piece.length;
			if (this.#partial === chainStep) {
				this.#links.push(this.#running.digest());
				this.#running = this.#start();
			}
		}
	}

	/** The digest of everything taken in. */
	digest(): Buffer {
		return this.#running.copy().digest();
	}

	/** Forgets everything behind the last whole link at or before `offset`. */
	rewind(offset: number): void {
		this.#links.length = Math.min(this.#links.length, linksBelow(offset));
		this.#running = this.#start();
	}

	#start(): Hash {
		this.#partial = 0;
		return createHash("sha256").update(this.#links.at(-1) ?? Buffer.alloc(digestSize));
	}
}

/**
 * Bytes before an offset that are read in any case, whatever links are kept of them. mailboxd may have cut
 * them since and written them again: a message that a crash has torn comes again, often to the same place
 * and with the same length, so that only its first bytes differ. More than any message, and read in a
 * fraction of a second.
 */
const readAgain = 64 * chainStep;

/** Of links kept from before, how many may be taken for an offset. */
export const linksToTake = (offset: number): number => linksBelow(offset - readAgain);

/** How many whole links lie at or below an offset. */
const linksBelow = (offset: number): number =>
	Math.max(0, Math.floor((offset - headerSize) / chainStep));
