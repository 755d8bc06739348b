import assert from "node:assert/strict";
import { test } from "node:test";
import { blockSize } from "../../../src/formats/ldap/block-size.ts";

test("blocks are pages after many transactions, and larger ones after few", () => {
	assert.equal(blockSize(200e6, 1000), 4096);
	assert.equal(blockSize(200e6, 1), 16_384);
	assert.equal(blockSize(0, 0), 4096);
	assert.equal(blockSize(1e12, 1), 131_072);
	for (const transactions of [1, 3, 10, 100]) {
		assert.equal(blockSize(350e6, transactions) % 4096, 0);
	}
});
