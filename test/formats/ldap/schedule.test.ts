import assert from "node:assert/strict";
import { test } from "node:test";
import { nextRoundAt } from "../../../src/formats/ldap/schedule.ts";

const settings = { ldap_quiet: 500, ldap_interval: 3000, ldap_share: 30 };

test("a single change is copied after the quiet time", () => {
	assert.equal(nextRoundAt({ firstChange: 1000, lastChange: 1000 }, settings), 1500);
});

test("a burst is one round, after its last change", () => {
	assert.equal(nextRoundAt({ firstChange: 1000, lastChange: 2200 }, settings), 2700);
});

test("changes without a pause do not put the round off for ever", () => {
	assert.equal(nextRoundAt({ firstChange: 1000, lastChange: 9000 }, settings), 4000);
});

test("rounds are an interval apart", () => {
	const lastRound = { start: 1000, end: 1300, failures: 0 };
	assert.equal(nextRoundAt({ firstChange: 1400, lastChange: 1400, lastRound }, settings), 4000);
});

test("rounds of a large directory take no more than their share of the time", () => {
	const lastRound = { start: 10_000, end: 40_000, failures: 0 };
	const at = nextRoundAt({ firstChange: 41_000, lastChange: 41_000, lastRound }, settings);
	assert.equal(at, 110_000, "30 s of 100 s");
});

test("a copy that is refused again and again is tried ever more rarely, and every 15 minutes at least", () => {
	const waits = [1, 2, 3, 4, 5, 50].map((failures) => {
		const lastRound = { start: 10_000, end: 100_000, failures };
		return nextRoundAt({ firstChange: 10_000, lastChange: 10_000, lastRound }, settings) - 10_000;
	});
	assert.deepEqual(waits, [300_000, 360_000, 720_000, 900_000, 900_000, 900_000]);
});
