import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { bytesSource } from "../../../src/formats/redolog/cursor.ts";
import { LogWalk } from "../../../src/formats/redolog/walker.ts";
import { sample } from "./samples.ts";
import { fuzzWalk } from "./walker-fuzz.ts";

const { LIVE_SYNC_FUZZ = "20000" } = process.env;
const cases = Number(LIVE_SYNC_FUZZ);

test(`damaged logs never crash, hang or mislead the walker (${cases} cases)`, () => {
	fc.assert(fc.property(fc.integer(), fuzzWalk), { numRuns: cases });
});

test("a flipped bit never brings a record that lies outside the log", () => {
	const { bytes } = sample("odd-ops/redo.log");
	const copy = Buffer.from(bytes);
	for (let at = 512; at < copy.length; at++) {
		const original = copy[at] ?? 0;
		copy[at] = original ^ (1 << (at % 8));
		const walk = new LogWalk(bytesSource(copy));
		let offset = 512;
		for (const record of walk) {
			assert.equal(record.offset, offset);
			offset += record.length;
		}
		assert.equal(walk.end?.offset, offset);
		copy[at] = original;
	}
});
