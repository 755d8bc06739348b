import assert from "node:assert/strict";
import { test } from "node:test";
import { judgeLags, LagClock } from "../../src/formats/lag.ts";

const at = (offset: number, sequence = 1) => ({ sequence, offset });

test("lag is unknown before the live server was heard of", () => {
	assert.equal(new LagClock(2000).lagSeconds(at(0), 1000), undefined);
});

test("nothing missing: lag is 0 while a heartbeat is fresh, then the time since it", () => {
	const lag = new LagClock(2000);
	lag.heard(at(100), 1000);
	assert.equal(lag.lagSeconds(at(100), 2000), 0);
	assert.equal(lag.lagSeconds(at(100), 11_000), 10);
});

test("lag is the time since the live log stood at the position", () => {
	const lag = new LagClock(2000);
	lag.heard(at(100), 0);
	lag.heard(at(200), 1000);
	lag.heard(at(50, 2), 2000);
	assert.equal(lag.lagSeconds(at(100), 2500), 2.5);
	assert.equal(lag.lagSeconds(at(150), 2500), 2.5);
	assert.equal(lag.lagSeconds(at(200), 2500), 1.5);
	assert.equal(lag.lagSeconds(at(50, 2), 2500), 0);
});

test("a position from before the first heartbeat has an unknown lag, never a small one", () => {
	const lag = new LagClock(2000);
	lag.heard(at(1000), 0);
	assert.equal(lag.lagSeconds(at(10), 5000), undefined);
});

test("an idle live log ages nothing: the same position heard again is news", () => {
	const lag = new LagClock(2000);
	lag.heard(at(100), 0);
	lag.heard(at(100), 60_000);
	lag.heard(at(200), 61_000);
	assert.equal(lag.lagSeconds(at(100), 61_500), 1.5);
});

test("a long outage keeps the oldest sample, in bounded room", () => {
	const lag = new LagClock(2000);
	for (let i = 0; i < 100_000; i++) lag.heard(at(i), i * 1000);
	assert.equal(lag.lagSeconds(at(0), 100_000_000), 100_000);
});

test("missing bytes: none only while a heartbeat is fresh, and unknown across files", () => {
	const lag = new LagClock(2000);
	assert.equal(lag.lagBytes(at(100), 1000), undefined);
	lag.heard(at(100), 1000);
	assert.equal(lag.lagBytes(at(100), 2000), 0);
	assert.equal(lag.lagBytes(at(100), 11_000), undefined);
	assert.equal(lag.lagBytes(at(40), 11_000), 60);
	assert.equal(lag.lagBytes(at(40, 0), 2000), undefined);
});

test("of a position from before the first heartbeat one knows at least how long that is ago", () => {
	const lag = new LagClock(2000);
	assert.equal(lag.leastLagSeconds(at(50), 1000), undefined);
	lag.heard(at(100), 1000);
	lag.heard(at(200), 61_000);
	assert.equal(lag.lagSeconds(at(50), 601_000), undefined);
	assert.equal(lag.leastLagSeconds(at(50), 601_000), 600);
	assert.equal(lag.leastLagSeconds(at(150), 601_000), 600);
	assert.equal(lag.leastLagSeconds(at(200), 61_500), 0);
});

test("a mirror that is too far behind: what it is that is behind, and by how much", () => {
	const limits = { flushed: 900, replayed: 960 };
	assert.equal(judgeLags({ flushed: undefined, replayed: undefined }, limits), undefined);
	assert.equal(judgeLags({ flushed: 900, replayed: 960 }, limits), undefined);
	assert.equal(
		judgeLags({ flushed: 0, replayed: 1000 }, limits),
		"the message store is 16 minutes behind the live server",
	);
	assert.equal(
		judgeLags({ flushed: 7300, replayed: 9000 }, limits),
		"the redo log here is 121 minutes behind the live one",
	);
});
