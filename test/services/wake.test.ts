import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { test } from "node:test";
import { Wake } from "../../src/services/wake.ts";

test("a wait of months leaves nothing behind, whether it ends by itself or by an event", async () => {
	const { signal } = new AbortController();
	using wake = new Wake([], 1);
	for (let i = 0; i < 20; i++) {
		const waiting = wake.wait(signal);
		if (i % 2 === 1) wake.ring();
		await waiting;
	}
	assert.equal(getEventListeners(signal, "abort").length, 0);
});
