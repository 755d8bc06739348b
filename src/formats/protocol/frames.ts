import { foreignLines } from "../foreign-words.ts";

/**
 * The bytes of the stream.
 *
 *     live → mirror   `live-syncd-stream 1 zstd\n`, then frames, compressed if the line says so
 *     mirror → live   frames
 *     frame           type (1 byte) · length of the payload (4 bytes, big endian) · payload
 *
 * The line comes first so that whatever a login shell may print before it can be skipped. Integrity
 * on the way is ssh's; that of the files is checked by digest at the end of each.
 */

export type Frame = { readonly type: number; readonly payload: Buffer };

/** A payload is at most one link of the digest chain and what is said about it. */
export const maxPayload = (1 << 20) + (1 << 16);
const frameHead = 5;

export function encodeFrame(type: number, ...parts: Uint8Array[]): Buffer {
	const length = parts.reduce((sum, part) => sum + part.length, 0);
	if (length > maxPayload) throw new RangeError(`frame of ${length} bytes`);
	const head = Buffer.allocUnsafe(frameHead);
	head.writeUInt8(type, 0);
	head.writeUInt32BE(length, 1);
	return Buffer.concat([head, ...parts], frameHead + length);
}

/**
 * Cuts a stream of bytes, in pieces of any size, into frames. A payload that lies in one piece is
 * given as it lies there; one that does not is copied once: there are gigabytes of them after a while
 * without a link, and what is allocated for them keeps the garbage collector busy.
 */
export class FrameDecoder {
	readonly #head = Buffer.alloc(frameHead);
	#headFilled = 0;
	/** the payload under way, where a piece ended in it */
	#payload: Buffer | undefined;
	#filled = 0;

	/** Throws where a frame is longer than any we send: the other end speaks something else. */
	*push(bytes: Buffer): Generator<Frame> {
		for (let at = 0; ; ) {
			at += this.#takeHead(bytes, at);
			if (this.#headFilled < frameHead) return;
			const length = this.#head.readUInt32BE(1);
			if (length > maxPayload)
				throw new Error(`a frame of ${length} bytes is not of this protocol`);
			const left = length - this.#filled;
			let payload = this.#payload;
			if (payload === undefined && bytes.length - at >= length) {
				payload = bytes.subarray(at, at + length);
			} else {
				payload ??= Buffer.allocUnsafe(length);
				const copied = bytes.copy(payload, this.#filled, at, at + left);
				if (copied < left) {
					this.#payload = payload;
					this.#filled += copied;
					return;
				}
			}
			at += left;
			this.#payload = undefined;
			this.#filled = 0;
			this.#headFilled = 0;
			yield { type: this.#head.readUInt8(0), payload };
		}
	}

	/** How many bytes of the piece belong to the head of a frame. */
	#takeHead(bytes: Buffer, at: number): number {
		const copied = bytes.copy(this.#head, this.#headFilled, at);
		this.#headFilled += copied;
		return copied;
	}
}

const greetingWord = "live-syncd-stream";
const longestGreeting = 40;
/** What a login shell may print before the greeting, the greeting included, at most. */
const maxNoise = 64 * 1024;

export type Compression = "none" | "zstd";

export const formatGreeting = (compression: Compression): string =>
	`${greetingWord} 1 ${compression}\n`;

/** Finds the greeting in the first bytes of the stream, behind any noise. */
export class GreetingReader {
	/** what came so far: in one place, since it may come byte by byte */
	readonly #held = Buffer.alloc(maxNoise);
	#length = 0;

	/**
	 * Undefined while more bytes are needed.
	 * Throws where no greeting came, with what came instead.
	 */
	push(bytes: Buffer): { compression: Compression; noise: string; rest: Buffer } | undefined {
		const from = Math.max(0, this.#length - longestGreeting);
		const before = this.#length;
		this.#length += bytes.copy(this.#held, before);
		const text = this.#held.toString("latin1", from, this.#length);
		const match = /live-syncd-stream 1 (none|zstd)\n/.exec(text);
		if (match !== null) {
			const start = from + match.index;
			return {
				compression: match[1] as Compression,
				noise: foreignLines(this.#held.toString("utf8", 0, start)),
				rest: bytes.subarray(start + match[0].length - before),
			};
		}
		if (this.#length === maxNoise) throw new Error(this.complaint());
		return undefined;
	}

	/** What came so far, as it came. */
	get said(): string {
		return this.#held.toString("utf8", 0, this.#length);
	}

	/** What to say when the stream ended, or went on too long, without a greeting. */
	complaint(): string {
		const said = foreignLines(this.said, 300);
		return said === ""
			? "the other server closed the stream without a word"
			: `the other server did not begin the stream but said: ${said}`;
	}
}
