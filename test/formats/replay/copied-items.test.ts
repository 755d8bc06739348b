import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { bytesSource } from "../../../src/formats/redolog/cursor.ts";
import { LogWalk } from "../../../src/formats/redolog/walker.ts";
import { copiedItems, isCopy } from "../../../src/formats/replay/copied-items.ts";

const samples = new URL("../../fixtures/redolog-samples/", import.meta.url).pathname;

type Op = { offset: number; op: string; itemId?: number };

for (const name of ["odd-ops/redo.log", "older-records/redo.log", "main/redo.log"]) {
	test(`the new items of every copy in ${name} are read, and of nothing else`, () => {
		const bytes = readFileSync(`${samples}${name}`);
		const told = JSON.parse(readFileSync(`${samples}${name}.json`, "utf8")) as { ops: Op[] };
		const copies = told.ops.filter(({ op }) => /^(CopyItem|ImapCopyItem|RecoverItem)$/.test(op));
		const found = new Map<number, number[]>();
		for (const record of new LogWalk(bytesSource(bytes))) {
			const items = copiedItems(bytes.subarray(record.offset, record.offset + record.length));
			assert.equal(items !== undefined, isCopy(record.opcode));
			if (items !== undefined) found.set(record.offset, items);
		}
		for (const { offset } of copies) {
			const items = found.get(offset);
			assert.ok(items !== undefined && items.length > 0, `copy at ${offset}`);
			assert.ok(items.every((item) => item > 0));
		}
	});
}

test("a copy that is cut short cannot be read, and is no list of nothing", () => {
	const bytes = readFileSync(`${samples}odd-ops/redo.log`);
	for (const record of new LogWalk(bytesSource(bytes))) {
		if (!isCopy(record.opcode)) continue;
		const whole = copiedItems(bytes.subarray(record.offset, record.offset + record.length));
		assert.ok(whole !== undefined);
		for (let length = 14; length < 70; length++) {
			const items = copiedItems(bytes.subarray(record.offset, record.offset + length));
			if (items !== undefined) assert.deepEqual(items, whole);
		}
	}
});
