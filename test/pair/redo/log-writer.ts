import { Buffer } from "node:buffer";
import {
	closeSync,
	constants,
	existsSync,
	fdatasyncSync,
	fstatSync,
	fsyncSync,
	openSync,
	readSync,
	writeSync,
} from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { die } from "../services/crash-points.ts";
import { decodeHeader, encodeHeader, type Header, headerLength } from "./header.ts";
import { encodeRecord, type RedoRecord } from "./record.ts";

/** Zimbra reads what it logs through a buffer of this size, and writes each filling of it by itself. */
const pieceSize = 1024;

/**
 * Writes one log file with the system calls of com.zimbra.cs.redolog.logger.FileLogWriter, in their
 * order: the header in place with fsync at open, at the first operation and at close; records in
 * pieces, never one inside another; change records answered after the next group fsync.
 */
export class LogWriter {
	readonly path: string;
	readonly header: Header;
	size = 0;
	readonly #fsyncMs: number;
	#fd: number | undefined;
	#logged = 0;
	#synced = 0;
	#lastMailbox: number | undefined;
	#waiting: (() => void)[] = [];
	#firstTime = 0;
	#lastTime = 0;

	constructor(path: string, serverId: string, sequence: number, fsyncMs: number) {
		this.path = path;
		this.#fsyncMs = fsyncMs;
		this.header = {
			open: false,
			fileSize: 0,
			sequence,
			serverId,
			firstTime: 0,
			lastTime: 0,
			minor: 0,
			createTime: 0,
		};
	}

	open(): void {
		if (this.#fd !== undefined) return;
		const fd = openSync(this.path, constants.O_RDWR | constants.O_CREAT, 0o640);
		this.#fd = fd;
		const found = fstatSync(fd).size;
		if (found >= headerLength) {
			Object.assign(this.header, readHeader(fd));
			this.header.createTime ||= Date.now();
			this.#firstTime = this.header.firstTime;
			this.#lastTime = this.header.lastTime;
		} else this.header.createTime = Date.now();
		this.header.open = true;
		this.#writeHeader();
		this.size = Math.max(found, headerLength);
		this.#logged = this.#synced = 0;
		if (this.#fsyncMs > 0) void this.#groupSync(fd);
	}

	close(): void {
		if (this.#fd === undefined) return;
		if (this.#lastTime !== 0) this.header.lastTime = this.#lastTime;
		this.header.open = false;
		this.header.fileSize = fstatSync(this.#fd).size;
		this.#writeHeader();
		fsyncSync(this.#fd);
		closeSync(this.#fd);
		this.#fd = undefined;
		this.#synced = this.#logged;
		this.#wake();
	}

	/** `synchronous`: on disk when the promise resolves. The bytes are written before it returns. */
	async log(record: RedoRecord, synchronous: boolean): Promise<void> {
		const fd = this.#mustBeOpen();
		this.#lastTime = Math.max(record.time, this.#lastTime);
		if (this.#firstTime === 0) {
			this.#firstTime = record.time;
			this.header.firstTime = record.time;
			this.header.lastTime = this.#lastTime;
			this.#writeHeader();
		}
		this.#logged++;
		const mine = this.#logged;
		let pieces = 0;
		for (const part of encodeRecord(record))
			for (let at = 0; at < part.length; at += pieceSize) {
				this.#append(fd, part.subarray(at, at + pieceSize));
				die(`record:${++pieces}`);
			}
		const sameMailbox = this.#lastMailbox === record.mailboxId;
		this.#lastMailbox = record.mailboxId;
		if (!synchronous) return;
		// One mailbox that writes in a row does not wait for the others: FileLogWriter.log, case 2.
		if (this.#fsyncMs <= 0 || sameMailbox) this.flush();
		else if (this.#synced < mine) await new Promise<void>((resolve) => this.#waiting.push(resolve));
	}

	flush(): void {
		if (this.#synced === this.#logged) return;
		fdatasyncSync(this.#mustBeOpen());
		this.#synced = this.#logged;
		this.#wake();
	}

	async #groupSync(fd: number): Promise<void> {
		while (this.#fd === fd) {
			await sleep(this.#fsyncMs, undefined, { ref: false });
			if (this.#fd === fd) this.flush();
		}
	}

	#wake(): void {
		const waiting = this.#waiting;
		this.#waiting = [];
		for (const resolve of waiting) resolve();
	}

	#append(fd: number, bytes: Buffer): void {
		writeSync(fd, bytes, 0, bytes.length, this.size);
		this.size += bytes.length;
	}

	#writeHeader(): void {
		const fd = this.#mustBeOpen();
		writeSync(fd, encodeHeader(this.header), 0, headerLength, 0);
		fsyncSync(fd);
	}

	#mustBeOpen(): number {
		if (this.#fd === undefined) throw new Error("Redolog file closed");
		return this.#fd;
	}
}

/** Rewrites a header without opening the log as its writer, as recovery does after it has cut a tail. */
export function rewriteHeader(path: string, header: Header): void {
	const fd = openSync(path, constants.O_RDWR);
	writeSync(fd, encodeHeader(header), 0, headerLength, 0);
	fsyncSync(fd);
	closeSync(fd);
}

/** The redo log of a server that was installed and stopped: header only, closed. */
export function writeEmptyLog(path: string, serverId: string): void {
	if (existsSync(path)) return;
	const writer = new LogWriter(path, serverId, 0, 0);
	writer.open();
	writer.close();
}

function readHeader(fd: number): Header {
	const bytes = new Uint8Array(headerLength);
	readSync(fd, bytes, 0, headerLength, 0);
	return decodeHeader(Buffer.from(bytes));
}
