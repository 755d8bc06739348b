import assert from "node:assert/strict";
import { test } from "node:test";
import { batches, nextBatch } from "../../../src/formats/protocol/batch.ts";

test("frames grow while the line is fast, and are small again at once when it is not", () => {
	let batch = batches.smallest;
	const sizes = [1, 1, 1, 49, 50, 1, 4000, 4000].map((tookMs) => {
		batch = nextBatch(batch, tookMs);
		return batch / batches.smallest;
	});
	assert.deepEqual(sizes, [2, 4, 4, 4, 1, 2, 1, 1]);
	assert.equal(batches.largest, 4 * batches.smallest);
});
