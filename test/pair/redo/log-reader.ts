import { Buffer } from "node:buffer";
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { BadBytes, EndOfLog } from "./fields.ts";
import { decodeHeader, type Header, headerLength } from "./header.ts";
import { decodeRecord, type RedoRecord, recordMagic } from "./record.ts";

/** What a log read to its end has shown, beside its records. */
export type ScanEnd = {
	/** where the last whole record ends; what lies behind it is junk */
	readonly goodEnd: number;
	/** size when the log was opened */
	readonly size: number;
	readonly skippedBytes: number;
};

const windowSize = 1 << 20;

/**
 * Reads a log as com.zimbra.cs.redolog.logger.FileLogReader does, weaknesses included: after bad bytes
 * it goes on at the next `ZMREDO`, though it stand in a mail; at the end of the file inside of a
 * record it stops; what {@link ReaderDies} names ends the file wherever it stands.
 */
export class LogReader implements Disposable {
	readonly header: Header;
	readonly sizeAtOpen: number;
	#fd: number;
	#at = headerLength;
	#window: Buffer = Buffer.alloc(0);
	#windowAt = 0;
	#goodEnd = headerLength;
	#skipped = 0;

	/** Throws for a file that is too short, no redo log, or newer than this reader. */
	constructor(path: string) {
		this.#fd = openSync(path, "r");
		try {
			this.sizeAtOpen = fstatSync(this.#fd).size;
			this.header = decodeHeader(readAt(this.#fd, 0, headerLength));
		} catch (error) {
			closeSync(this.#fd);
			throw new Error(`Error opening ${path}: ${(error as Error).message}`, { cause: error });
		}
	}

	/** The next record with the place at which it starts, or undefined at the end or in front of a torn tail. */
	next(): { record: RedoRecord; offset: number } | undefined {
		if (this.#at === this.sizeAtOpen) return undefined;
		let offset = this.#at;
		for (;;) {
			try {
				this.#at = offset;
				const record = decodeRecord((length) => this.#take(length));
				this.#skipped += offset - this.#goodEnd;
				this.#goodEnd = this.#at;
				return { record, offset };
			} catch (error) {
				if (error instanceof EndOfLog) return undefined;
				if (!(error instanceof BadBytes)) throw error;
			}
			const found = this.#search(offset + 1);
			if (found === undefined) return undefined;
			offset = found;
		}
	}

	end(): ScanEnd {
		return { goodEnd: this.#goodEnd, size: this.sizeAtOpen, skippedBytes: this.#skipped };
	}

	[Symbol.dispose](): void {
		closeSync(this.#fd);
	}

	/** Never from a buffer that is filled again, since records keep what they get. */
	#take(length: number): Buffer {
		const from = this.#at - this.#windowAt;
		if (from < 0 || from + length > this.#window.length) {
			this.#window = readAt(this.#fd, this.#at, Math.max(length, windowSize));
			this.#windowAt = this.#at;
		}
		const start = this.#at - this.#windowAt;
		if (start + length > this.#window.length) throw new EndOfLog("end of file inside of a record");
		this.#at += length;
		return this.#window.subarray(start, start + length);
	}

	#search(from: number): number | undefined {
		for (let at = from; at < this.sizeAtOpen; at += windowSize - recordMagic.length) {
			const found = readAt(this.#fd, at, windowSize).indexOf(recordMagic);
			if (found >= 0) return at + found;
		}
		return undefined;
	}
}

/** Every record of a log with its place, up to its end or a torn tail. */
export function* recordsOf(
	path: string,
): Generator<{ record: RedoRecord; offset: number }, ScanEnd> {
	using reader = new LogReader(path);
	for (let each = reader.next(); each !== undefined; each = reader.next()) yield each;
	return reader.end();
}

function readAt(fd: number, at: number, length: number): Buffer {
	const bytes = Buffer.allocUnsafe(length);
	let done = 0;
	while (done < length) {
		const count = readSync(fd, bytes, done, length - done, at + done);
		if (count === 0) break;
		done += count;
	}
	return bytes.subarray(0, done);
}
