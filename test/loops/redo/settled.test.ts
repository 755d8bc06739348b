import assert from "node:assert/strict";
import { test } from "node:test";
import { queryObjects } from "node:v8";
import { SettledPosition } from "../../../src/loops/redo/settled.ts";

class Place {
	readonly sequence = 1;
	readonly offset: number;

	constructor(offset: number) {
		this.offset = offset;
	}
}

const settleMs = 1000;

test("what has been on disk for replay_settle may be replayed, and no more", () => {
	const settled = new SettledPosition<Place>(settleMs);
	assert.equal(settled.at(0), undefined);
	settled.flushed(new Place(1000), 0);
	settled.flushed(new Place(2000), 500);
	assert.equal(settled.at(999), undefined);
	assert.equal(settled.at(1000)?.offset, 1000);
	assert.equal(settled.at(1499)?.offset, 1000);
	assert.equal(settled.at(1500)?.offset, 2000);
});

test("a log that is flushed without pause settles all the same", () => {
	const settled = new SettledPosition<Place>(settleMs);
	for (let at = 0; at <= 3000; at++) settled.flushed(new Place(at), at);
	const { offset = 0 } = settled.at(3000) ?? {};
	assert.ok(offset <= 2000 && offset >= 2000 - settleMs / 5, String(offset));
});

test("what the live server has cut does not settle, and what had settled behind the cut no longer has", () => {
	const settled = new SettledPosition<Place>(settleMs);
	settled.flushed(new Place(1000), 0);
	settled.flushed(new Place(3000), 500);
	settled.cut(new Place(2000));
	assert.equal(settled.at(5000)?.offset, 1000);
	settled.flushed(new Place(4000), 6000);
	assert.equal(settled.at(7000)?.offset, 4000);
	settled.cut(new Place(2000));
	assert.equal(settled.at(7001)?.offset, 2000);
});

test("while replay is stopped and asks for nothing, nothing piles up", () => {
	const settled = new SettledPosition<Place>(settleMs);
	for (let at = 0; at < 1000 * settleMs; at += settleMs / 5) settled.flushed(new Place(at), at);
	assert.ok(queryObjects(Place, { format: "count" }) < 50);
	assert.equal(settled.at(1000 * settleMs)?.offset, 999 * settleMs);
});
