import assert from "node:assert/strict";
import { test } from "node:test";
import { Refusal } from "../../src/errors.ts";
import { keepTrying } from "../../src/loops/keep-trying.ts";
import { longestPause } from "../../src/loops/reconnect.ts";
import { TurnedAway, Unanswered } from "../../src/services/ssh/dial.ts";

/** The pauses, in ms and without their jitter, after so many attempts. */
async function pauses(
	count: number,
	attempt: (healthy: () => void) => Promise<void>,
	longestMs: (problem: unknown) => number,
	sameWithinMs?: number,
): Promise<number[]> {
	const ended = new AbortController();
	const found: number[] = [];
	await keepTrying(attempt, {
		signal: ended.signal,
		longestMs,
		...(sameWithinMs === undefined ? {} : { sameWithinMs }),
		isFinal: () => false,
		onRetry(_, delayMs) {
			found.push(delayMs);
			if (found.length === count) ended.abort();
		},
	});
	return found;
}

const near = (pause: number | undefined, ms: number) =>
	assert.ok(pause !== undefined && pause <= ms && pause >= 0.75 * ms, `${pause} is not ${ms}`);

test("what fails moments after it began to work keeps its growing pauses", async () => {
	const [first, second, third] = await pauses(
		3,
		async (healthy) => {
			healthy();
			throw new Error("the archive cannot be written");
		},
		() => 5000,
	);
	near(first, 1000);
	near(second, 2000);
	near(third, 4000);
});

test("what has worked for a while begins anew, with the shortest pause", async () => {
	let count = 0;
	const found = await pauses(
		3,
		async (healthy) => {
			if (++count === 3) {
				healthy();
				await new Promise((resolve) => setTimeout(resolve, 30));
			}
			throw new Error("the line is cut");
		},
		() => 5000,
		20,
	);
	near(found[1], 2000);
	near(found[2], 1000);
});

test("a silent address is knocked at each second, and the silence makes no later pause longer", async () => {
	const settings = { reconnect_max: 5000 };
	const problems = [
		new Unanswered("no answer"),
		new Unanswered("no answer"),
		new Error("the line is cut"),
	];
	let count = 0;
	const found = await pauses(
		3,
		async () => {
			throw problems[count++];
		},
		(problem) => longestPause(problem, settings),
	);
	for (const pause of found) near(pause, 1000);
});

test("a server that answers and does not let the mirror in is asked less and less, up to half a minute", () => {
	const settings = { reconnect_max: 5000 };
	assert.equal(longestPause(new Unanswered("no answer"), settings), 1000);
	assert.equal(longestPause(new Error("nothing was heard"), settings), 5000);
	assert.equal(longestPause(new TurnedAway("turned away"), settings), 30_000);
	assert.equal(longestPause(new Refusal("key-refused", "no", "yes"), settings), 30_000);
	assert.equal(longestPause(new TurnedAway("turned away"), { reconnect_max: 60_000 }), 60_000);
});
