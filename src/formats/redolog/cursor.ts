import { Buffer } from "node:buffer";

/**
 * Bytes that can be read at any offset, as with pread. Files are opened elsewhere; here is only what
 * a reader of the format needs to know of them.
 */
export type ByteSource = {
	/**
	 * Fills `target` from the byte at `offset` on, as far as there are bytes. Gives the number of bytes
	 * read, 0 at the end; may give fewer than there are. Throws what the medium throws.
	 */
	read(target: Uint8Array, offset: number): number;
};

/** A source over bytes in memory. */
export const bytesSource = (bytes: Uint8Array): ByteSource => ({
	read(target, offset) {
		const part = bytes.subarray(offset, offset + target.length);
		target.set(part);
		return part.length;
	},
});

/** What is there ends inside the record: more bytes could complete it. */
export class CutShort extends Error {
	/** bytes that were to be read or passed over in one piece */
	readonly wanted: number;

	constructor(wanted: number) {
		super("the bytes end inside a record");
		this.wanted = wanted;
	}
}

/** The bytes are no record, however many may follow. */
export class Malformed extends Error {}

/** How many bytes one read fetches; also the bound of the memory that a walk takes. */
const windowSize = 256 * 1024;

/** Nothing that is read in one piece is longer: a path, an id, a fixed run of fields. */
const longestPiece = 16 * 1024;

/**
 * A place in a source, moving forward over a window of its bytes. It never reads at or past `limit`,
 * and what is skipped is not read at all.
 */
export class Cursor {
	/** offset in the source of the next byte */
	position: number;
	readonly #source: ByteSource;
	#limit: number;
	readonly #window: Buffer;
	/** offset in the source of the window's first byte, and of the byte behind its last */
	#start = 0;
	#end = 0;

	constructor(source: ByteSource, from: number, limit: number, size = windowSize) {
		this.#source = source;
		this.position = from;
		this.#limit = limit;
		this.#window = Buffer.allocUnsafe(Math.max(size, longestPiece));
	}

	/** The limit as given, or the end of the source if that came first. */
	get limit(): number {
		return this.#limit;
	}

	/** How many bytes there are up to the limit, at most `most`; they are in the window then. */
	available(most: number): number {
		if (this.position + most <= this.#end && this.position >= this.#start) return most;
		this.#refill(most);
		return Math.max(0, Math.min(most, this.#end - this.position));
	}

	#refill(wanted: number): void {
		// Whatever of the window is still ahead is kept, so that a byte is read from the source once.
		const kept =
			this.position >= this.#start && this.position < this.#end ? this.#end - this.position : 0;
		if (kept > 0) this.#window.copyWithin(0, this.position - this.#start, this.#end - this.#start);
		this.#start = this.position;
		this.#end = this.position + kept;
		while (this.#end - this.#start < wanted && this.#end < this.#limit) {
			const room = Math.min(this.#window.length, this.#limit - this.#start);
			const target = this.#window.subarray(this.#end - this.#start, room);
			const count = this.#source.read(target, this.#end);
			if (count <= 0) {
				this.#limit = this.#end;
				return;
			}
			this.#end += count;
		}
	}

	/** Throws {@link CutShort} unless `size` bytes are there; gives their place in `window`. */
	#take(size: number): number {
		const at = this.position - this.#start;
		if (at < 0 || this.position + size > this.#end) {
			if (this.available(size) < size) throw new CutShort(size);
			this.position += size;
			return this.position - size - this.#start;
		}
		this.position += size;
		return at;
	}

	i8(): number {
		return this.#window.readInt8(this.#take(1));
	}

	i16(): number {
		return this.#window.readInt16BE(this.#take(2));
	}

	i32(): number {
		return this.#window.readInt32BE(this.#take(4));
	}

	/** Exact up to 2^53; beyond that the nearest number. */
	i64(): number {
		const at = this.#take(8);
		return this.#window.readInt32BE(at) * 0x1_0000_0000 + this.#window.readUInt32BE(at + 4);
	}

	/** An 8-byte field whose upper half Zimbra drops when it reads it. */
	low32(): number {
		return this.#window.readInt32BE(this.#take(8) + 4);
	}

	/** All 64 bits. */
	big64(): bigint {
		return this.#window.readBigInt64BE(this.#take(8));
	}

	/** `size` bytes as UTF-8; at most {@link longestPiece}. */
	text(size: number): string {
		if (size > longestPiece) throw new Malformed(`a text of ${size} bytes where none is so long`);
		const at = this.#take(size);
		return this.#window.toString("utf8", at, at + size);
	}

	/** Whether `mark` stands here, as far as there are bytes; -1 if it does not, else bytes seen. */
	matches(mark: string): number {
		const seen = this.available(mark.length);
		const at = this.position - this.#start;
		for (let i = 0; i < seen; i++) if (this.#window[at + i] !== mark.charCodeAt(i)) return -1;
		return seen;
	}

	/** Passes over `size` bytes without reading them. Throws {@link CutShort} if there are fewer. */
	skip(size: number): void {
		const position = this.position + size;
		if (position > this.#limit) throw new CutShort(size);
		// A limit beyond the end of the source shows only when the source is asked.
		if (position > this.#end && size > 0) {
			this.position = position - 1;
			if (this.available(1) < 1) throw new CutShort(size);
		}
		this.position = position;
	}
}
