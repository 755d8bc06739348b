import assert from "node:assert/strict";
import { basename } from "node:path";
import { describe, test } from "node:test";
import fc from "fast-check";
import { formatHeader, headerSize, parseHeader } from "../../../src/formats/redolog/header.ts";
import {
	formatArchiveName,
	formatTemporaryName,
	isTemporaryName,
	parseArchiveName,
} from "../../../src/formats/redolog/log-name.ts";
import {
	comparePositions,
	formatPosition,
	parsePosition,
	sameLog,
} from "../../../src/formats/redolog/position.ts";
import { samples } from "./samples.ts";

describe("header", () => {
	for (const { name, bytes, header } of samples)
		test(`the header of ${name} is read as Zimbra reads it, and written back byte for byte`, () => {
			const parsed = parseHeader(bytes);
			assert.ok(parsed);
			assert.deepEqual(parsed, {
				open: header.open !== 0,
				fileSize: header.fileSize,
				sequence: header.sequence,
				serverId: header.serverId,
				firstOperationTime: header.firstOpTimestamp,
				lastOperationTime: header.lastOpTimestamp,
				version: { major: 1, minor: 42 },
				createTime: header.createTime,
			});
			assert.deepEqual(formatHeader(parsed), bytes.subarray(0, headerSize));
		});

	test("any header comes back as it was written", () => {
		const time = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
		const headers = fc.record(
			{
				open: fc.boolean(),
				fileSize: time,
				sequence: time,
				serverId: fc.string({ unit: "grapheme", maxLength: 20 }),
				firstOperationTime: time,
				lastOperationTime: time,
				version: fc.constant({ major: 1, minor: 42 }),
				createTime: time,
			},
			{ noNullPrototype: true },
		);
		fc.assert(
			fc.property(headers, (header) => {
				fc.pre(Buffer.byteLength(header.serverId) <= 127);
				assert.deepEqual(parseHeader(formatHeader(header)), header);
			}),
		);
	});

	test("what is too short, of another kind or claims too long an id is no header", () => {
		const bytes = Buffer.from(samples[0]?.bytes.subarray(0, headerSize) ?? []);
		assert.equal(parseHeader(bytes.subarray(0, 511)), undefined);
		const longId = Buffer.from(bytes);
		longId[24] = 128;
		assert.equal(parseHeader(longId), undefined);
		bytes[0] = 0;
		assert.equal(parseHeader(bytes), undefined);
	});

	test("a server id that does not fit is refused", () => {
		const header = parseHeader(samples[0]?.bytes ?? Buffer.alloc(0));
		assert.ok(header);
		assert.throws(() => formatHeader({ ...header, serverId: "x".repeat(128) }), RangeError);
	});
});

describe("names", () => {
	for (const { name, header } of samples) {
		const file = basename(name);
		if (file === "redo.log") continue;
		test(`${file} is taken apart and put together`, () => {
			const time = /(\d{4})(\d\d)(\d\d)\.(\d\d)(\d\d)(\d\d)\.(\d{3})/.exec(file);
			const [year, month, day, hour, minute, second, ms] = (time ?? []).slice(1).map(Number);
			const at = Date.UTC(year ?? 0, (month ?? 1) - 1, day, hour, minute, second, ms);
			if (file.startsWith("~")) {
				assert.ok(isTemporaryName(file));
				assert.equal(formatTemporaryName(header.sequence, at), file);
			} else {
				assert.equal(parseArchiveName(file)?.sequence, header.sequence);
				assert.equal(formatArchiveName(header.sequence, at), file);
			}
		});
	}

	test("other names are no archives", () => {
		for (const name of [
			"redo.log",
			"redo-1-seq1.log",
			"~tmp-redo-20261123.145258.105-seq1.log",
			"",
		])
			assert.equal(parseArchiveName(name), undefined);
	});
});

describe("positions", () => {
	const natural = fc.nat(2 ** 31 - 1);
	const positions = fc.record({ sequence: natural, offset: natural }, { noNullPrototype: true });

	test("a position is read back from its text", () => {
		fc.assert(
			fc.property(positions, (position) => {
				assert.deepEqual(parsePosition(formatPosition(position)), position);
			}),
		);
	});

	test("positions are ordered by sequence, then by offset", () => {
		assert.ok(comparePositions({ sequence: 2, offset: 0 }, { sequence: 1, offset: 9 }) > 0);
		assert.ok(comparePositions({ sequence: 1, offset: 8 }, { sequence: 1, offset: 9 }) < 0);
		assert.equal(comparePositions({ sequence: 1, offset: 9 }, { sequence: 1, offset: 9 }), 0);
	});

	test("what is no position is not read as one", () => {
		for (const text of ["", "1", "1:", ":1", "-1:2", "1:2:3", "1:2 ", "1:1234567890123456"])
			assert.equal(parsePosition(text), undefined);
	});

	test("logs of equal number and server are told apart by create time and timeline", () => {
		const log = { serverId: "a", sequence: 1, createTime: 5, timeline: 0 };
		assert.ok(sameLog(log, { ...log }));
		assert.ok(!sameLog(log, { ...log, createTime: 6 }));
		assert.ok(!sameLog(log, { ...log, timeline: 1 }));
		assert.ok(!sameLog(log, { ...log, serverId: "b" }));
		assert.ok(!sameLog(log, { ...log, sequence: 2 }));
	});
});
