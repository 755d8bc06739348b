import { Buffer } from "node:buffer";
import type { Readable } from "node:stream";

/**
 * Cuts bytes into lines and holds no more than one line of `maxBytes`, whoever sends them: node:readline
 * holds a line without an end until the memory is gone.
 */
export class LineCutter {
	readonly #maxBytes: number;
	/** the beginning of a line whose end has not come: copied, so that no piece is kept alive by it */
	#held = Buffer.alloc(0);
	#length = 0;

	constructor(maxBytes: number) {
		this.#maxBytes = maxBytes;
	}

	/** The lines that end in this piece, without their line ends. Throws for one that is too long. */
	*push(piece: Buffer): Generator<string> {
		let from = 0;
		for (let end = piece.indexOf(10); end >= 0; end = piece.indexOf(10, from)) {
			const line = this.#join(piece.subarray(from, end));
			from = end + 1;
			this.#length = 0;
			yield line.replace(/\r$/, "");
		}
		this.#hold(piece.subarray(from));
	}

	#join(rest: Buffer): string {
		if (this.#length === 0 && rest.length <= this.#maxBytes) return rest.toString("utf8");
		this.#hold(rest);
		return this.#held.toString("utf8", 0, this.#length);
	}

	#hold(bytes: Buffer): void {
		const length = this.#length + bytes.length;
		if (length > this.#maxBytes) {
			throw new Error(`a line of more than ${this.#maxBytes} bytes came`);
		}
		if (length > this.#held.length) {
			const larger = Buffer.alloc(Math.min(this.#maxBytes, Math.max(2 * length, 256)));
			this.#held.copy(larger, 0, 0, this.#length);
			this.#held = larger;
		}
		bytes.copy(this.#held, this.#length);
		this.#length = length;
	}
}

export type LineEvents = {
	readonly onLine: (line: string) => void;
	/** a line was too long: nothing more is read, and the owner of the stream ends it */
	readonly onTooLong: (error: Error) => void;
};

/**
 * Gives each line of a stream of bytes as it comes. A last line without an end is not given: it was
 * cut on the way.
 */
export function readLines(input: Readable, maxBytes: number, events: LineEvents): void {
	const cutter = new LineCutter(maxBytes);
	const take = (piece: Buffer) => {
		const lines = cutter.push(piece);
		for (;;) {
			let next: IteratorResult<string, unknown>;
			try {
				next = lines.next();
			} catch (error) {
				input.off("data", take).pause();
				events.onTooLong(error as Error);
				return;
			}
			if (next.done === true) return;
			events.onLine(next.value);
		}
	};
	input.on("data", take);
}
