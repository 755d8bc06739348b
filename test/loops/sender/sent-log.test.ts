import assert from "node:assert/strict";
import {
	appendFileSync,
	existsSync,
	mkdtempSync,
	rmSync,
	truncateSync,
	writeFileSync,
} from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { chainStep, DigestChain } from "../../../src/formats/redolog/digest-chain.ts";
import { SentLog } from "../../../src/loops/sender/sent-log.ts";
import { writeAt } from "../../../src/services/files.ts";
import { KeptLinks } from "../../../src/services/redolog/kept-links.ts";
import { openLog } from "../../../src/services/redolog/open-log.ts";
import { drawFrom, header } from "../../formats/redolog/build.ts";

const headerSize = 512;

/** A log of which `size` bytes behind the header were sent, all at once or in pieces. */
async function sentLog(size: number, pieces = 1) {
	const directory = mkdtempSync(join(tmpdir(), "sent-log-"));
	const path = join(directory, "redo.log");
	const draw = drawFrom(size);
	const content = Buffer.from(Uint8Array.from({ length: size }, () => draw(256)));
	writeFileSync(path, Buffer.concat([header({ sequence: 1 }), content]));
	const log = await openLog(path);
	assert.ok(log !== undefined);
	const sent = await SentLog.at(log, new DigestChain(), new KeptLinks(directory, "chain"));
	const piece = Math.ceil(size / pieces);
	for (let at = 0; at < size; at += piece) await sent.add(content.subarray(at, at + piece));
	return {
		path,
		sent,
		end: headerSize + size,
		/** Puts other bytes in the place of what stands there. */
		async change(offset: number, length = 1) {
			await using file = await open(path, "r+");
			const from = offset - headerSize;
			const other = content.subarray(from, from + length).map((byte) => byte ^ 0xff);
			await writeAt(file, offset, Buffer.from(other));
		},
		async [Symbol.asyncDispose]() {
			await log.file.close();
			rmSync(directory, { recursive: true });
		},
	};
}

for (const pieces of [1, 40]) {
	test(`what still stands there as it was sent is no cut, in ${pieces} pieces`, async () => {
		await using at = await sentLog(20_000, pieces);
		assert.equal(await at.sent.findCut(at.end, false), undefined);
		assert.equal(await at.sent.findCut(at.end, true), undefined);
		appendFileSync(at.path, "more");
		assert.equal(await at.sent.findCut(at.end + 4, false), undefined);
	});

	test(`other bytes where the last were are seen without a word from the header, in ${pieces} pieces`, async () => {
		await using at = await sentLog(20_000, pieces);
		await at.change(at.end - 700, 100);
		appendFileSync(at.path, "more");
		assert.equal(await at.sent.findCut(at.end + 4, false), at.end - 700);
		await at.change(at.end - 3000, 3000);
		assert.equal(await at.sent.findCut(at.end + 4, false), at.end - 3000);
	});

	test(`a cut behind which the old bytes stand again at the end is found when the header was rewritten, in ${pieces} pieces`, async () => {
		await using at = await sentLog(20_000, pieces);
		await at.change(at.end - 9000, 10);
		assert.equal(await at.sent.findCut(at.end, true), at.end - 9000);
	});

	test(`a file that has become shorter was cut at its end, or before, in ${pieces} pieces`, async () => {
		await using at = await sentLog(20_000, pieces);
		truncateSync(at.path, at.end - 5000);
		assert.equal(await at.sent.findCut(at.end - 5000, false), at.end - 5000);
		await at.change(at.end - 8000, 3000);
		assert.equal(await at.sent.findCut(at.end - 5000, false), at.end - 8000);
	});
}

test("a look at what has grown reads little: other bytes far back wait for a word from the header", async () => {
	await using at = await sentLog(20_000);
	await at.change(at.end - 9000);
	assert.equal(await at.sent.findCut(at.end, false), undefined);
});

test("a cut is told to the byte as far back as bytes are held, which is a whole link at least", async () => {
	await using at = await sentLog(3 * chainStep + 700, 30);
	const cutAt = headerSize + 2 * chainStep + 17;
	truncateSync(at.path, cutAt);
	assert.equal(await at.sent.findCut(cutAt, false), cutAt);
	await at.sent.cut(cutAt, new AbortController().signal);
	assert.equal(at.sent.offset, cutAt);
	assert.equal(await at.sent.findCut(cutAt, true), undefined);
	const before = headerSize + chainStep;
	truncateSync(at.path, before);
	assert.equal(await at.sent.findCut(before, false), before);
});

test("a cut that goes back behind all that is held is not guessed", async () => {
	await using at = await sentLog(4 * chainStep + 700, 30);
	const kept = join(at.path, "../chain.chain");
	assert.ok(existsSync(kept));
	const cutAt = headerSize + chainStep + 17;
	truncateSync(at.path, cutAt);
	await assert.rejects(at.sent.findCut(cutAt, false), /compares to find the byte/);
	assert.equal(
		existsSync(kept),
		false,
		"digests of bytes that are gone must not mislead the next one",
	);
});

test("a torn message that has come again, and differs in its first bytes only, far back, is seen", async () => {
	await using at = await sentLog(5 * chainStep, 30);
	await at.change(headerSize + 1000, 20);
	assert.equal(await at.sent.findCut(at.end, false), undefined);
	await assert.rejects(at.sent.findCut(at.end, true), /compares to find the byte/);
});
