import { Buffer } from "node:buffer";
import type { Field } from "../../../src/formats/redolog/fields.ts";
import { formatHeader, type LogHeader } from "../../../src/formats/redolog/header.ts";
import { operations } from "../../../src/formats/redolog/layouts.ts";

/** Writes redo logs for tests, from the same table of layouts that the walker reads them by. */

export type Head = {
	opcode: number;
	time?: number;
	counter: number;
	mailboxId?: number;
	timestamp?: number;
	minor?: number;
	changeId?: number;
};

const i16 = (value: number) => {
	const bytes = Buffer.alloc(2);
	bytes.writeInt16BE(value);
	return bytes;
};
const i32 = (value: number) => {
	const bytes = Buffer.alloc(4);
	bytes.writeInt32BE(value);
	return bytes;
};
const i64 = (value: number) => {
	const bytes = Buffer.alloc(8);
	bytes.writeBigInt64BE(BigInt(value));
	return bytes;
};
const text = (value: string | null) =>
	value === null ? i32(-1) : Buffer.concat([i32(Buffer.byteLength(value)), Buffer.from(value)]);

/** When the server of the tests was started, s: the first half of its transaction ids. */
export const startTime = 1_795_443_000;

export function record(head: Head, ...fields: Uint8Array[]): Buffer {
	const minor = head.minor ?? 42;
	return Buffer.concat([
		Buffer.from("ZMREDO"),
		i16(1),
		i16(minor),
		i32(head.opcode),
		i64(head.timestamp ?? 1_795_443_900_000),
		i32(head.changeId ?? -1),
		i32(0),
		i32(head.time ?? startTime),
		i32(head.counter),
		minor >= 26 ? i64(head.mailboxId ?? 3) : i32(head.mailboxId ?? 3),
		...fields,
	]);
}

type Named = Omit<Head, "opcode">;

export const commit = (head: Head) => record({ ...head, opcode: 3 }, i32(head.opcode));
export const abort = (head: Head) => record({ ...head, opcode: 4 }, i32(head.opcode));
export const checkpoint = (active: { time?: number; counter: number }[]) =>
	record(
		{ opcode: 1, time: 0, counter: 0, mailboxId: 0 },
		i32(active.length),
		...active.map((id) => Buffer.concat([i32(id.time ?? startTime), i32(id.counter)])),
	);
export const createMailbox = (head: Named, account: string) =>
	record({ ...head, opcode: 7 }, text(account));
export const setConfig = (head: Named, section: string) =>
	record({ ...head, opcode: 46 }, text(section), text("value"));
export const storeIncomingBlob = (head: Named, path: string, body: Uint8Array) =>
	record(
		{ ...head, opcode: 26, mailboxId: -1 },
		i32(1),
		i64(3),
		text("digest"),
		text(path),
		i16(-1),
		i32(body.length),
		i32(body.length),
		body,
	);
const message = (path: string, ...content: Uint8Array[]) =>
	Buffer.concat([
		text("rcpt@example.com"),
		i64(1_795_443_900_000),
		Buffer.from([1]),
		text("digest"),
		i64(27),
		...[257, 2, -257, 0, 0, 0].map(i32),
		text(null),
		i32(0),
		Buffer.from([0]),
		i32(-1),
		text(path),
		i16(-1),
		text(null),
		...content,
	]);
export const linkedMessage = (head: Named, path: string) =>
	record({ ...head, opcode: 27 }, message(path, Buffer.from([2]), i16(-1)));
export const inlineMessage = (head: Named, body: Uint8Array) =>
	record({ ...head, opcode: 27 }, message(":streamed:", Buffer.from([1]), i32(body.length), body));
/** A CreateLink as it is logged: under the number of CreateMountpoint. */
export const createLink = (head: Named, folder: number) =>
	record(
		{ ...head, opcode: 35 },
		i32(391),
		text("uuid"),
		text("a"),
		text("b"),
		i32(5),
		i32(folder),
	);
/** The switch of ActiveSync, for whose number Zimbra's reader has no class. */
export const activeSync = (head: Named) =>
	record({ ...head, opcode: 91 }, i32(2), Buffer.from([1]));
/** A record of an operation that nobody knows. */
export const foreign = (head: Head, size: number) => record(head, Buffer.alloc(size, 7));

/** A record that Zimbra's own reader knows and ours does not; a string of -2 bytes is none. */
export const extension = (head: Head, payload: Uint8Array) =>
	record(head, i32(-2), i32(payload.length), payload);

/** The length of such a record, where one stands. */
export function extensionAt(file: Buffer, offset: number): number | undefined {
	const fields = offset + 46;
	if (file.length < fields + 8 || file.readInt32BE(fields) !== -2) return undefined;
	return 46 + 8 + file.readInt32BE(fields + 4);
}

export const header = (values: Partial<LogHeader> = {}) =>
	formatHeader({
		open: true,
		fileSize: 512,
		sequence: 0,
		serverId: "5a1d0b7e-0000-4000-8000-7a696d627261",
		firstOperationTime: 0,
		lastOperationTime: 0,
		version: { major: 1, minor: 42 },
		createTime: 1_795_443_800_000,
		...values,
	});

/** What a header says, of a log whose sequence tells it from the others of a test. */
export const headerFacts = (sequence: number, fileSize: number, open: boolean): LogHeader => ({
	open,
	fileSize,
	sequence,
	serverId: "server",
	firstOperationTime: 0,
	lastOperationTime: 0,
	version: { major: 1, minor: 42 },
	createTime: 1000 + sequence,
});

/** Numbers from 0 to below `below`, from a generator that the test chooses. */
export type Draw = (below: number) => number;

/** A small fast generator, the same numbers for the same seed. */
export function drawFrom(seed: number): Draw {
	let state = seed >>> 0;
	return (below) => {
		state = (state + 0x6d2b79f5) >>> 0;
		let mixed = Math.imul(state ^ (state >>> 15), state | 1);
		mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
		return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below);
	};
}

/** A record of any operation and version, with arbitrary contents, in one of its layouts. */
export function anyRecord(draw: Draw, opcode: number, minor: number, layout: number): Buffer {
	const fields = operations.get(opcode)?.layouts[layout]?.fields ?? [];
	return record(
		{ opcode, minor, counter: draw(1e6), mailboxId: draw(100) },
		...anyFields(draw, fields, minor),
	);
}

function anyFields(draw: Draw, fields: readonly Field[], minor: number): Buffer[] {
	let listed = false;
	const singles = fields.flatMap((field) => (field.type === "list" ? (field.unless ?? []) : []));
	return fields
		.filter((field) => minor >= (field.since ?? 0) && minor < (field.before ?? 1000))
		.map((field) => {
			if (singles.includes(field.name)) {
				const value = draw(2) === 0 ? -1 : 1 + draw(1000);
				if (value <= 0) listed = true;
				return i32(value);
			}
			if (field.type === "list" && field.unless !== undefined && !listed) return Buffer.alloc(0);
			return anyField(draw, field, minor);
		});
}

function anyField(draw: Draw, field: Field, minor: number): Buffer {
	switch (field.type) {
		case "bool":
			return Buffer.from([draw(2)]);
		case "i8":
			return Buffer.from([draw(256)]);
		case "i16":
			return i16(draw(0x8000));
		case "i32":
			return i32(draw(0x7fffffff));
		case "i64":
			return i64(draw(2 ** 48));
		case "string":
			return anyText(draw);
		case "keyed":
			return draw(2) === 0 ? i32(-1) : Buffer.concat([text("key"), anyText(draw)]);
		case "body":
			return anyBody(draw);
		case "data":
			return draw(3) === 0 ? i32(-1) : anyBody(draw);
		case "content":
			return draw(2) === 0
				? Buffer.concat([Buffer.from([2]), i16(-1)])
				: Buffer.concat([Buffer.from([1]), anyBody(draw)]);
		case "optional":
			return draw(2) === 0
				? Buffer.from([0])
				: Buffer.concat([Buffer.from([1]), ...anyFields(draw, field.fields, minor)]);
		case "list": {
			const count = draw(4);
			const entries = Array.from({ length: count }, () =>
				field.bytes === undefined
					? Buffer.concat(anyFields(draw, field.fields, minor))
					: Buffer.alloc(field.bytes, draw(256)),
			);
			return Buffer.concat([field.count === "i16" ? i16(count) : i32(count), ...entries]);
		}
	}
}

function anyText(draw: Draw): Buffer {
	const choice = draw(4);
	if (choice === 0) return i32(-1);
	return text(choice === 1 ? "ZMREDO" : "é".repeat(draw(20)));
}

/** Bodies as they come, and bodies made of records. */
function anyBody(draw: Draw): Buffer {
	const body = [
		() => Buffer.alloc(draw(300), draw(256)),
		() => commit({ opcode: 20, counter: draw(1000) }),
		() => Buffer.concat([Buffer.from("ZMREDO\0\u0001\0*"), Buffer.alloc(draw(60), draw(256))]),
	][draw(3)]?.() as Buffer;
	return Buffer.concat([i32(body.length), body]);
}
