import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { bytesSource } from "../../../src/formats/redolog/cursor.ts";
import { operations } from "../../../src/formats/redolog/layouts.ts";
import { formatTransaction, type LogRecord } from "../../../src/formats/redolog/record.ts";
import { LogWalk } from "../../../src/formats/redolog/walker.ts";
import * as build from "./build.ts";
import { sample, samples, samplesDirectory } from "./samples.ts";

function walk(bytes: Uint8Array, to = bytes.length) {
	const walking = new LogWalk(bytesSource(bytes), { to });
	const records = [...walking];
	return { records, end: walking.end };
}

const logOf = (...records: Uint8Array[]) => Buffer.concat([build.header(), ...records]);

describe("the walker agrees with Zimbra's own reader", () => {
	for (const { name, bytes, ops, lastGoodOffset, trailingBytes } of samples) {
		test(`on every record of ${name}`, () => {
			const { records, end } = walk(bytes);
			assert.deepEqual(end, {
				kind: trailingBytes === 0 ? "clean" : "torn",
				offset: lastGoodOffset,
			});
			const byOffset = new Map(records.map((record) => [record.offset, record]));
			for (const op of ops) {
				const record = byOffset.get(op.offset);
				assert.ok(record, `no record at ${op.offset}`);
				// Where the reader consumed another number of bytes it misread, and says so.
				if (op.parsedLength === undefined) assert.equal(record.length, op.length);
				assert.deepEqual(asTold(record, bytes), {
					opcode: op.opcode,
					version: op.version,
					timestamp: op.timestamp,
					changeId: op.changeId,
					txn: op.txn,
					mailboxId: op.mailboxId,
					txnOpcode: op.txnOpcode,
					activeTxns: op.activeTxns,
					dataOffset: op.dataOffset,
					dataLength: op.dataLength,
					dataSha256: op.dataSha256,
				});
			}
			// The records lie end to end: nothing was jumped over.
			let offset = 512;
			for (const record of records) {
				assert.equal(record.offset, offset);
				offset += record.length;
			}
			assert.equal(offset, lastGoodOffset);
		});
	}
});

function asTold(record: LogRecord, bytes: Buffer) {
	const { body } = record;
	return {
		opcode: record.opcode,
		version: `${record.version.major}.${record.version.minor}`,
		timestamp: record.timestamp,
		changeId: record.changeId,
		txn: formatTransaction(record.transaction),
		mailboxId: record.mailboxId,
		txnOpcode: record.endedOpcode,
		activeTxns: record.activeTransactions?.map(formatTransaction),
		dataOffset: body?.offset,
		dataLength: body?.length,
		dataSha256:
			body &&
			createHash("sha256")
				.update(bytes.subarray(body.offset, body.offset + body.length))
				.digest("hex"),
	};
}

test("the three that Zimbra cannot read back are walked over and named", () => {
	const { records } = walk(sample("odd-ops/redo.log").bytes);
	const odd = records.filter((record) => record.oddity !== undefined);
	assert.deepEqual(
		odd.map(({ offset, length, name, oddity }) => ({ offset, length, name, oddity })),
		[
			{ offset: 4367, length: 114, name: "CreateFileSharedWithMe", oddity: "misread" },
			{ offset: 8655, length: 75, name: "CreateLink", oddity: "misread over its end" },
			{ offset: 9000, length: 51, name: "SetDisableActiveSync", oddity: "not executed" },
		],
	);
});

test("a retention policy as Carbonio writes it since 4.12, without a list of policies to keep, is walked over", () => {
	const name = "carbonio-set-retention-policy-1";
	const bytes = readFileSync(join(samplesDirectory, `${name}.log`));
	const { expected } = JSON.parse(readFileSync(join(samplesDirectory, `${name}.json`), "utf8"));
	const { records, end } = walk(bytes);
	assert.deepEqual(end, { kind: "clean", offset: bytes.length });
	const told = records.map(({ offset, length, opcode: op }) => ({ offset, length, op }));
	for (const { offset, op } of expected)
		assert.ok(told.some((one) => one.offset === offset && one.op === op));
	assert.deepEqual(
		told.map(({ op }) => op),
		[46, 3, 86, 3, 46, 3],
	);
});

test("both forms of a retention policy are told apart by the record that stands behind them", () => {
	const i32 = (value: number) => {
		const bytes = Buffer.alloc(4);
		bytes.writeInt32BE(value);
		return bytes;
	};
	const policies = (count: number) => [
		i32(count),
		...Array.from({ length: count }, () => Buffer.concat([i32(-1), i32(3), Buffer.from("30d")])),
	];
	for (let keep = 0; keep < 3; keep++)
		for (let purge = 0; purge < 3; purge++)
			for (const lists of [policies(purge), [...policies(keep), ...policies(purge)]]) {
				const head = Buffer.from([1, 0, 0, 1, 1]);
				const record = build.record({ opcode: 86, counter: 1 }, head, ...lists);
				const bytes = logOf(record, build.commit({ opcode: 86, counter: 1 }));
				const { records, end } = walk(bytes);
				assert.deepEqual(
					records.map(({ length }) => length),
					[record.length, 50],
				);
				assert.equal(end?.kind, "clean");
			}
});

test("links and their blobs are told by path", () => {
	const { records } = walk(sample("main/archive/redo-20261123.143054.625-seq1.log").bytes);
	const blobs = records.filter((record) => record.blobPath !== undefined);
	const links = records.filter((record) => record.linkPath !== undefined);
	assert.ok(blobs.length > 0 && blobs.every((record) => record.opcode === 26));
	assert.ok(links.length > 0 && links.every((record) => record.body === undefined));
	assert.ok(links.some((link) => blobs.some((blob) => blob.blobPath === link.linkPath)));
});

test("a mailbox record tells its account", () => {
	const { records } = walk(logOf(build.createMailbox({ counter: 1 }, "b7c8-account")));
	assert.equal(records[0]?.accountId, "b7c8-account");
});

const undecided = new Set(["CreateLink", "CreateVolume", "ModifyVolume", "SetRetentionPolicy"]);

test("a log cut at any byte is walked up to the last whole record", () => {
	for (const name of ["main/redo.log", "odd-ops/redo.log", "older-records/redo.log"]) {
		const { bytes } = sample(name);
		const whole = walk(bytes).records;
		const boundaries = new Set([512, ...whole.map((record) => record.offset + record.length)]);
		let good = 512;
		let count = 0;
		for (let to = 512; to <= bytes.length; to++) {
			if (boundaries.has(to) && to > 512) {
				good = to;
				count++;
			}
			const { records, end } = walk(bytes.subarray(0, to));
			// A CreateLink with nothing behind it may be the beginning of a CreateMountpoint, and an
			// older CreateVolume that of a newer one: they may count only when the next record's
			// common part is there.
			const last = whole[count - 1];
			if (end?.offset === last?.offset && to < good + 46 && last && undecided.has(last.name)) {
				assert.equal(end?.kind, "torn");
				continue;
			}
			assert.deepEqual(end, { kind: to === good ? "clean" : "torn", offset: good }, `at ${to}`);
			assert.equal(records.length, count);
		}
	}
});

test("nothing at or behind the limit is read", () => {
	const { bytes } = sample("main/redo.log");
	for (const to of [512, 513, 600, 5000, 30_000, bytes.length]) {
		const inner = bytesSource(bytes);
		const walking = new LogWalk(
			{
				read(target, offset) {
					assert.ok(offset + target.length <= to, `read up to ${offset + target.length}`);
					return inner.read(target, offset);
				},
			},
			{ to },
		);
		for (const record of walking) assert.ok(record.offset + record.length <= to);
	}
});

test("bodies are passed over without being read", () => {
	const bytes = logOf(
		build.inlineMessage({ counter: 1 }, Buffer.alloc(8 * 1024 * 1024)),
		build.commit({ opcode: 27, counter: 1 }),
	);
	let fetched = 0;
	const inner = bytesSource(bytes);
	const walking = new LogWalk({
		read(target, offset) {
			const count = inner.read(target, offset);
			fetched += count;
			return count;
		},
	});
	assert.deepEqual(
		[...walking].map((record) => record.name),
		["CreateMessage", "CommitTxn"],
	);
	assert.ok(fetched < 600 * 1024, `${fetched} bytes fetched`);
});

test("a body made of records is a body, whole or cut", () => {
	const inside = Buffer.concat([
		build.setConfig({ counter: 77 }, "forged"),
		build.commit({ opcode: 46, counter: 77 }),
	]);
	const bytes = logOf(
		build.storeIncomingBlob({ counter: 1 }, "/blob/1", Buffer.concat([inside, inside])),
		build.commit({ opcode: 26, counter: 1 }),
		build.inlineMessage({ counter: 2 }, inside),
		build.commit({ opcode: 27, counter: 2 }),
	);
	for (let to = 512; to <= bytes.length; to++)
		for (const record of walk(bytes, to).records)
			assert.ok(record.transaction.counter < 77, `a forged record at ${record.offset}`);
});

test("a source that gives a byte at a time is walked all the same", () => {
	const { bytes } = sample("main/redo.log");
	const inner = bytesSource(bytes);
	const walking = new LogWalk({
		read: (target, offset) => inner.read(target.subarray(0, 1), offset),
	});
	assert.deepEqual([...walking], walk(bytes).records);
});

test("an opcode outside Zimbra's list ends the walk, and its common part is told", () => {
	const bytes = logOf(
		build.setConfig({ counter: 1 }, "a"),
		build.foreign({ opcode: 96, counter: 2, mailboxId: 9 }, 20),
	);
	const { records, end } = walk(bytes);
	assert.equal(records.length, 1);
	assert.ok(end?.kind === "unknown opcode");
	assert.equal(end.named, false);
	assert.equal(end.head.mailboxId, 9);
});

test("an opcode of an extension, whose layout is not public, ends the walk as named", () => {
	const { end } = walk(logOf(build.foreign({ opcode: 42, counter: 2 }, 20)));
	assert.ok(end?.kind === "unknown opcode");
	assert.equal(end.named, true);
});

test("bad bytes, newer versions and impossible lengths are unreadable, not torn", () => {
	const cases = {
		"no ZMREDO where a record must begin": Buffer.from("garbage"),
		"record version 1.43, known are 1.0 to 1.42": build.setConfig({ counter: 1, minor: 43 }, "a"),
		"a string of -2 bytes": build.record(
			{ opcode: 7, counter: 1 },
			Buffer.from([0xff, 0xff, 0xff, 0xfe]),
		),
	};
	for (const [reason, bytes] of Object.entries(cases))
		assert.deepEqual(walk(logOf(bytes)).end, { kind: "unreadable", offset: 512, reason });
});

test("an empty log, a log cut in its header and a limit inside it end cleanly", () => {
	assert.deepEqual(walk(build.header()).end, { kind: "clean", offset: 512 });
	assert.deepEqual(walk(Buffer.alloc(3)).end, { kind: "clean", offset: 512 });
});

test("a mailbox id is read as Zimbra reads it, and a far time does no harm", () => {
	const bytes = build.setConfig({ counter: 1, mailboxId: -1 }, "a");
	bytes.writeBigInt64BE(2n ** 62n, 14);
	const [record] = walk(logOf(bytes)).records;
	assert.equal(record?.mailboxId, -1);
	assert.equal(record?.timestamp, 2 ** 62);
});

test("every layout of every operation is walked at every version from 1.0 to 1.42", () => {
	const draw = build.drawFrom(7);
	for (const [opcode, { layouts }] of operations)
		for (let minor = 0; minor <= 42; minor++)
			for (const [index, layout] of layouts.entries()) {
				// What other classes log under a foreign number exists in the newest version only.
				if (layout.writer !== undefined && minor < 42) continue;
				const record = build.anyRecord(draw, opcode, minor, index);
				const { records, end } = walk(logOf(record, build.commit({ opcode, counter: 1 })));
				assert.deepEqual(
					records.map(({ length }) => length),
					[record.length, 50],
					`${opcode} at 1.${minor}, layout ${index}`,
				);
				assert.equal(end?.kind, "clean");
			}
});
