import assert from "node:assert/strict";
import { test } from "node:test";
import { type Decision, decide, retryDelay } from "../../../src/formats/replay/decision.ts";
import type { RunOutcome } from "../../../src/formats/replay/outcome.ts";
import { nextRunAt } from "../../../src/formats/replay/schedule.ts";

const outcomes: Record<RunOutcome["kind"], RunOutcome> = {
	done: { kind: "done", failed: [{ text: "one" }], dropped: [] },
	"nothing executed": { kind: "nothing executed", why: "refused" },
	unknown: { kind: "unknown", why: "it was killed" },
	conflict: { kind: "conflict", why: "3 is 4" },
};

const table: Record<RunOutcome["kind"], readonly [first: string, afterUnknown: string]> = {
	done: ["advance", "advance"],
	"nothing executed": ["retry", "retry"],
	unknown: ["re-run", "stop"],
	conflict: ["stop", "stop"],
};

for (const [kind, results] of Object.entries(table)) {
	const outcome = outcomes[kind as RunOutcome["kind"]];
	test(`after a run that is "${kind}": ${results[0]}; the second time round: ${results[1]}`, () => {
		const decisions = [0, 1].map((unknownEnds) =>
			decide(outcome, { unknownEnds, idleAttempts: 0 }),
		);
		assert.deepEqual(
			decisions.map((each: Decision) => each.kind),
			results,
		);
	});
}

test("a run of which nobody knows what it executed is run again once, never twice", () => {
	assert.equal(decide(outcomes.unknown, { unknownEnds: 2, idleAttempts: 0 }).kind, "stop");
});

test("pauses between attempts double, and end at five minutes", () => {
	const delays = [0, 1, 2, 3, 8, 9, 50, 5000].map(retryDelay);
	assert.deepEqual(delays, [1000, 2000, 4000, 8000, 256_000, 300_000, 300_000, 300_000]);
});

const cases: readonly [title: string, took: number, share: number, gap: number][] = [
	["a quick run comes every interval", 2_000, 50, 60_000],
	["a run as long as its share allows comes every interval", 30_000, 50, 60_000],
	["a run that is longer becomes rarer: half of the time", 50_000, 50, 100_000],
	["… a quarter of the time", 50_000, 25, 200_000],
	["all of the time, if the admin wants it", 90_000, 100, 90_000],
];
for (const [title, took, share, gap] of cases) {
	test(title, () => {
		const last = { startedAt: 1000, endedAt: 1000 + took };
		assert.equal(nextRunAt(last, { intervalMs: 60_000, share }), 1000 + gap);
	});
}

test("the first run waits for nothing", () => {
	assert.equal(nextRunAt(undefined, { intervalMs: 60_000, share: 50 }), 0);
});
