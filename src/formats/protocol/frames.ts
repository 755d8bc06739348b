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

/** Cuts a stream of bytes, in pieces of any size, into frames. */
export class FrameDecoder {
	#pieces: Buffer[] = [];
	#held = 0;

	/** Throws where a frame is longer than any we send: the other end speaks something else. */
	*push(bytes: Buffer): Generator<Frame> {
		this.#pieces.push(bytes);
		this.#held += bytes.length;
		for (;;) {
			if (this.#held < frameHead) return;
			const head = this.#peek(frameHead);
			const length = head.readUInt32BE(1);
			if (length > maxPayload)
				throw new Error(`a frame of ${length} bytes is not of this protocol`);
			if (this.#held < frameHead + length) return;
			const frame = this.#take(frameHead + length);
			yield { type: frame.readUInt8(0), payload: frame.subarray(frameHead) };
		}
	}

	#peek(length: number): Buffer {
		const first = this.#pieces[0];
		if (first !== undefined && first.length >= length) return first;
		this.#pieces = [Buffer.concat(this.#pieces)];
		return this.#pieces[0] as Buffer;
	}

	#take(length: number): Buffer {
		let first = this.#pieces[0] as Buffer;
		if (first.length < length) {
			first = Buffer.concat(this.#pieces);
			this.#pieces = [first];
		}
		this.#held -= length;
		if (first.length === length) this.#pieces.shift();
		else this.#pieces[0] = first.subarray(length);
		return first.subarray(0, length);
	}
}

const greetingWord = "live-syncd-stream";
/** What a login shell may print before the greeting, at most. */
const maxNoise = 64 * 1024;

export type Compression = "none" | "zstd";

export const formatGreeting = (compression: Compression): string =>
	`${greetingWord} 1 ${compression}\n`;

/** Finds the greeting in the first bytes of the stream, behind any noise. */
export class GreetingReader {
	#held = Buffer.alloc(0);

	/**
	 * Undefined while more bytes are needed.
	 * Throws where no greeting came, with what came instead.
	 */
	push(bytes: Buffer): { compression: Compression; noise: string; rest: Buffer } | undefined {
		this.#held = Buffer.concat([this.#held, bytes]);
		const match = /(?:^|\n)live-syncd-stream 1 (none|zstd)\n/.exec(this.#held.toString("latin1"));
		if (match !== null) {
			const end = match.index + match[0].length;
			return {
				compression: match[1] as Compression,
				noise: this.#held.toString("utf8", 0, match.index),
				rest: this.#held.subarray(end),
			};
		}
		if (this.#held.length > maxNoise) throw new Error(this.complaint());
		return undefined;
	}

	/** What to say when the stream ended, or went on too long, without a greeting. */
	complaint(): string {
		const said = this.#held.toString("utf8", 0, 300).trim();
		return said === ""
			? "the other server closed the stream without a word"
			: `the other server did not begin the stream but said: ${said}`;
	}
}
