import assert from "node:assert/strict";
import { test } from "node:test";
import { judgeLiveEnd, type LiveEndFacts } from "../../src/formats/live-end.ts";

const moment = (wall: number) => ({ wall, monotonic: wall, bootId: "b" });

/** A mirror since 1000; the live server was last heard of at 90 s, and stop is typed at 100 s. */
function facts(live: { sequence: number; offset: number }, flushLagSeconds: number | undefined) {
	const state = {
		at: moment(100_000),
		heardAt: moment(90_000),
		live: { position: live, clock: 0 },
		flushLagSeconds,
	};
	const here = { sequence: 17, offset: 5000 };
	return {
		...{ here, closed: false, state, since: 1000, until: 100_000 },
		...{ heartbeatMs: 1000, linkTimeoutMs: 5000, lagMaxMs: 900_000 },
	} satisfies LiveEndFacts;
}

test("the live end that was heard last is here: nothing is known to be missing", () => {
	for (const offset of [4000, 5000]) {
		const { text, loss } = judgeLiveEnd(facts({ sequence: 17, offset }, 10));
		assert.equal(loss, false);
		assert.match(text, new RegExp(`All that is known .*ended at 17:${offset}$`));
	}
});

test("what the live log had for longer than some seconds, and the mirror had not, is a loss", () => {
	const { text, loss } = judgeLiveEnd(facts({ sequence: 17, offset: 5700 }, 40));
	assert.equal(loss, true);
	assert.match(
		text,
		/700 bytes never came here: .*at 1970-01-01T00:01:30.000Z.* up to 17:5000 was/,
	);
});

test("what was under way when the link ended is told, and is no reason to stop a failover", () => {
	const { text, loss } = judgeLiveEnd(facts({ sequence: 17, offset: 5700 }, 12));
	assert.equal(loss, false);
	assert.match(text, /700 bytes never came here.* under way when the link ended$/);
	assert.equal(judgeLiveEnd(facts({ sequence: 17, offset: 3_000_000 }, 12)).loss, true);
});

test("how long it was missing is not known: a loss", () => {
	assert.equal(judgeLiveEnd(facts({ sequence: 17, offset: 5001 }, undefined)).loss, true);
});

test("the live log is another file: an empty one behind a whole one is no loss, anything else is", () => {
	const next = facts({ sequence: 18, offset: 512 }, 40);
	assert.equal(judgeLiveEnd({ ...next, closed: true }).loss, false);
	assert.equal(judgeLiveEnd(next).loss, true);
	assert.match(judgeLiveEnd(next).text, /a part, of unknown size, never came here/);
	const more = facts({ sequence: 18, offset: 900 }, 40);
	assert.match(judgeLiveEnd({ ...more, closed: true }).text, /388 bytes never came here/);
	assert.equal(
		judgeLiveEnd({ ...facts({ sequence: 20, offset: 512 }, 12), closed: true }).loss,
		true,
	);
});

test("the live server was there when the loop ended, long before stop: what it took since is not known", () => {
	const known = facts({ sequence: 17, offset: 5000 }, 0);
	const heard = { ...known, state: { ...known.state, heardAt: moment(99_000) } };
	const late = { until: 100_000 + known.lagMaxMs + 1 };
	assert.deepEqual(judgeLiveEnd({ ...heard, ...late }), {
		text: "What the live server took after 1970-01-01T00:01:40.000Z is not known here: it served then, and no loop of this mirror has listened since",
		loss: true,
	});
	assert.equal(judgeLiveEnd(heard).loss, false);
	assert.equal(judgeLiveEnd({ ...known, ...late }).loss, false, "it was silent by then");
	assert.equal(judgeLiveEnd({ ...heard, until: undefined }).loss, false);
});

test("nothing was heard, nothing was published, or only by an earlier life: not known, so a loss", () => {
	const known = facts({ sequence: 17, offset: 5000 }, 10);
	const { live: _, ...silent } = known.state;
	for (const state of [undefined, silent]) {
		const { text, loss } = judgeLiveEnd({ ...known, state });
		assert.equal(loss, true);
		assert.match(text, /is not known: nothing was heard of it .* since 1970-01-01T00:00:01/);
	}
	assert.equal(judgeLiveEnd({ ...known, since: 200_000 }).loss, true);
	assert.equal(judgeLiveEnd({ ...known, here: undefined }).loss, true);
});
