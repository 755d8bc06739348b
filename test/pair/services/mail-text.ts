import { Buffer } from "node:buffer";
import { randomBytes } from "node:crypto";

/**
 * A mail of exactly this size. Its body holds the words that a reader of redo logs must not fall for,
 * and what looks like the beginning of a record.
 */
export function makeMail(size: number): Buffer {
	const head = Buffer.concat([
		Buffer.from(`From: sender@example.org\r\nSubject: ${randomBytes(4).toString("hex")}\r\n\r\n`),
		Buffer.from(
			"A mail may speak of ZM_REDO and ZMREDO\r\nZMREDO\x00\x01\x00\x2a\x00\x00\x00\x1b\r\n",
			"latin1",
		),
	]);
	const line = Buffer.from(`${randomBytes(24).toString("base64")}${"lorem ipsum ".repeat(3)}\r\n`);
	const fill = Buffer.alloc(Math.max(0, size - head.length), line);
	return Buffer.concat([head, fill]).subarray(0, size);
}
