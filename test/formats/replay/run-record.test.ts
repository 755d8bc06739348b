import assert from "node:assert/strict";
import { test } from "node:test";
import { startAt } from "../../../src/formats/replay/replayed-position.ts";
import {
	beginsAt,
	formatRunRecord,
	parseRunRecord,
	type RunRecord,
} from "../../../src/formats/replay/run-record.ts";

const log = { serverId: "s", sequence: 7, createTime: 1, timeline: 0 };
const record: RunRecord = {
	version: 1,
	token: "t",
	directory: "/d",
	bootId: "b",
	startedAt: 1,
	phase: "running",
	from: { ...log, offset: 512 },
	next: startAt(log, 900),
	files: [{ path: "/f", mayDrop: false }],
	operations: 3,
	log: { older: [] },
	processes: [{ pid: 4, startTime: 5, bootId: "b" }],
	unknownEnds: 0,
};

test("a record is read as it was written", () => {
	assert.deepEqual(parseRunRecord(formatRunRecord(record)), record);
});

test("a record that is cut short, at any byte, is no record", () => {
	const text = formatRunRecord(record).trimEnd();
	for (let length = 0; length < text.length; length++) {
		assert.equal(parseRunRecord(text.slice(0, length)), undefined);
	}
});

for (const [what, change] of [
	["a version of the future", { version: 2 }],
	["a phase that nobody knows", { phase: "flying" }],
	["no position", { next: undefined }],
	["no processes", { processes: undefined }],
] as const) {
	test(`a record with ${what} is no record`, () => {
		assert.equal(parseRunRecord(JSON.stringify({ ...record, ...change })), undefined);
	});
}

test("a record counts only where replay still stands at its beginning", () => {
	assert.equal(beginsAt(record, startAt(log, 512)), true);
	assert.equal(beginsAt(record, startAt(log, 900)), false);
	assert.equal(beginsAt(record, startAt({ ...log, createTime: 2 }, 512)), false);
});
