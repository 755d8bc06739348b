import { randomBytes } from "node:crypto";
import { closeSync, openSync, statSync, writeSync } from "node:fs";
import { op } from "../pair/redo/layouts.ts";
import { encodeRecord, latestMinor, type RedoRecord } from "../pair/redo/record.ts";

/** `text` is words, `attachment` what mail makes of files that are compressed already. */
export type Body = "text" | "attachment";

const wordCount = 20_000;
const words = Array.from({ length: wordCount }, () =>
	randomBytes(6)
		.toString("base64url")
		.toLowerCase()
		.slice(0, 2 + Math.floor(Math.random() * 7)),
);

export function makeBody(kind: Body, size: number): Buffer {
	if (kind === "attachment") {
		const lines = randomBytes(size).toString("base64").match(/.{76}/g) ?? [];
		return Buffer.from(lines.join("\r\n")).subarray(0, size);
	}
	let text = "";
	// Squared: as in a language, some words are far more frequent than others.
	while (text.length < size) text += `${words[Math.floor(Math.random() ** 2 * wordCount)]} `;
	return Buffer.from(text.slice(0, size));
}

let counter = 0;

/** The record with which Zimbra logs a mail that has several recipients. */
export function mailRecord(body: Buffer): RedoRecord {
	counter++;
	return {
		opcode: op.storeIncomingBlob,
		minor: latestMinor,
		time: Date.now(),
		changeId: -1,
		changeConstraint: 0,
		transaction: { time: Math.floor(Date.now() / 1000), counter },
		// another one each time: then mailboxd waits for its group fsync, as with many users
		mailboxId: counter,
		fields: {
			mailboxes: [{ id: 1 }, { id: 2 }],
			digest: randomBytes(32).toString("base64"),
			path: `/opt/zimbra/store/incoming/${counter}.msg`,
			volume: 1,
			size: body.length,
			data: body,
		},
	};
}

/** Lets a redo log grow by so many bytes of mail, at once; gives its size. */
export function growLog(path: string, bytes: number, kind: Body): number {
	const file = openSync(path, "a");
	const body = makeBody(kind, 64 << 20);
	for (let written = 0, at = 0; written < bytes; at += 997) {
		const size = 2000 + ((at * 31) % 60_000);
		const from = (written + at) % (body.length - size);
		const record = Buffer.concat(encodeRecord(mailRecord(body.subarray(from, from + size))));
		written += writeSync(file, record);
	}
	closeSync(file);
	return statSync(path).size;
}
