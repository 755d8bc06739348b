import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { ReaderDies } from "./fields.ts";
import { encodeHeader, headerLength } from "./header.ts";
import { LogReader, recordsOf } from "./log-reader.ts";
import { decodeRecord, encodeRecord, type RedoRecord, transactionName } from "./record.ts";

// Logs written by Zimbra's own classes, each with what Zimbra's own reader says about it.
const samples = join(import.meta.dirname, "../../fixtures/redolog-samples");
const logs = globSync("**/*.log.json", { cwd: samples })
	.map((name) => name.slice(0, -".json".length))
	.sort();

type Told = {
	header: { sequence: number; createTime: number };
	lastGoodOffset: number;
	ops: {
		offset: number;
		length: number;
		parsedLength?: number;
		opcode: number;
		timestamp: number;
		txn: string;
		mailboxId: number;
		dataSha256?: string;
	}[];
};

const told = (log: string) =>
	JSON.parse(readFileSync(join(samples, `${log}.json`), "utf8")) as Told;

assert.ok(logs.length > 8, "the samples are there");

for (const log of logs) {
	const path = join(samples, log);

	test(`the pair's reader says of ${log} what Zimbra's reader says`, () => {
		const expected = told(log);
		const found = [];
		const walk = recordsOf(path);
		for (let each = walk.next(); ; each = walk.next()) {
			if (each.done === true) {
				assert.equal(each.value.goodEnd, expected.lastGoodOffset);
				break;
			}
			const { record, offset } = each.value;
			const data = record.fields["data"];
			found.push({
				offset,
				opcode: record.opcode,
				timestamp: record.time,
				txn: transactionName(record.transaction),
				mailboxId: record.mailboxId,
				...(Buffer.isBuffer(data)
					? { dataSha256: createHash("sha256").update(data).digest("hex") }
					: {}),
			});
		}
		assert.deepEqual(
			found,
			expected.ops.map(({ offset, opcode, timestamp, txn, mailboxId, dataSha256 }) => ({
				offset,
				opcode,
				timestamp,
				txn,
				mailboxId,
				...(dataSha256 === undefined ? {} : { dataSha256 }),
			})),
		);
	});

	test(`each record and the header of ${log}, read and written again, are the same bytes`, () => {
		const bytes = readFileSync(path);
		using reader = new LogReader(path);
		assert.deepEqual(encodeHeader(reader.header), bytes.subarray(0, headerLength));
		// A record that Zimbra writes under another's number is misread, and cannot come out again.
		const misread = new Set(told(log).ops.flatMap((op) => (op.parsedLength ? op.offset : [])));
		for (const { record, offset } of recordsOf(path)) {
			if (misread.has(offset)) continue;
			const again = Buffer.concat(encodeRecord(record));
			assert.deepEqual(again, bytes.subarray(offset, offset + again.length), `at ${offset}`);
		}
	});
}

test("an operation number that Zimbra does not know ends the reading of that file", () => {
	const record: RedoRecord = {
		opcode: 8,
		minor: 42,
		time: 1,
		changeId: -1,
		changeConstraint: 0,
		transaction: { time: 1, counter: 1 },
		mailboxId: 3,
		fields: {},
	};
	const bytes = Buffer.concat(encodeRecord(record));
	bytes.writeInt32BE(200, 10);
	assert.throws(() => decodeAll(bytes), ReaderDies);
	bytes.writeInt32BE(91, 10); // known, but without a class: bad bytes only
	assert.throws(() => decodeAll(bytes), { message: /no class/ });
});

function decodeAll(bytes: Buffer): RedoRecord {
	let at = 0;
	return decodeRecord((length) => {
		at += length;
		return bytes.subarray(at - length, at);
	});
}
