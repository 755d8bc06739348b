import assert from "node:assert/strict";
import { test } from "node:test";
import { metaBytes, parseMeta } from "../../../src/formats/lmdb/meta.ts";

function metaPage(transactionId: number): Buffer {
	const page = Buffer.alloc(4096);
	page.writeUInt16LE(0x08, 10);
	page.writeUInt32LE(0xbeef_c0de, 16);
	page.writeUInt32LE(1, 20);
	page.writeBigUInt64LE(85_899_345_920n, 32);
	page.writeUInt32LE(4096, 40);
	page.writeBigUInt64LE(21n, 136);
	page.writeBigUInt64LE(BigInt(transactionId), 144);
	return page;
}

test("the newer of the two meta pages counts, whichever it is", () => {
	for (const [one, other] of [
		[7, 8],
		[9, 8],
	] as const) {
		assert.deepEqual(parseMeta(metaPage(one), metaPage(other)), {
			version: 1,
			transactionId: Math.max(one, other),
			pageSize: 4096,
			mapSize: 85_899_345_920,
			lastPage: 21,
		});
	}
});

test("a page that is no meta page is passed over, and without any there is no answer", () => {
	const broken = metaPage(9);
	broken.writeUInt32LE(0, 16);
	assert.equal(parseMeta(metaPage(8), broken)?.transactionId, 8);
	assert.equal(parseMeta(broken, Buffer.alloc(4096)), undefined);
	assert.equal(parseMeta(metaPage(8).subarray(0, metaBytes - 1), Buffer.alloc(0)), undefined);
});
