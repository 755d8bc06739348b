import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { test } from "node:test";
import { LineCutter, readLines } from "../../src/services/lines.ts";

test("lines come out whole, in whatever pieces they came", () => {
	const bytes = Buffer.from("one\ntwö\r\n\nfour\nrest");
	for (let size = 1; size <= bytes.length; size++) {
		const cutter = new LineCutter(8);
		const lines: string[] = [];
		for (let at = 0; at < bytes.length; at += size) {
			lines.push(...cutter.push(bytes.subarray(at, at + size)));
		}
		assert.deepEqual(lines, ["one", "twö", "", "four"]);
	}
});

test("a line may have just as many bytes as the limit, and not one more", () => {
	assert.deepEqual([...new LineCutter(4).push(Buffer.from("1234\n"))], ["1234"]);
	assert.throws(() => [...new LineCutter(4).push(Buffer.from("12345\n"))], /more than 4 bytes/);
	assert.throws(() => [...new LineCutter(4).push(Buffer.from("12345"))], /more than 4 bytes/);
});

test("a line without an end takes no memory beyond the limit, and nothing more is read", async () => {
	const input = new PassThrough();
	const lines: string[] = [];
	const tooLong = new Promise<Error>((resolve) => {
		readLines(input, 1 << 16, { onLine: (line) => lines.push(line), onTooLong: resolve });
	});
	input.write("first\n");
	const piece = Buffer.alloc(1 << 15, "x");
	let written = 0;
	for (; written < 64 && input.write(piece); written++) await new Promise(setImmediate);
	assert.match((await tooLong).message, /65536 bytes/);
	assert.deepEqual(lines, ["first"]);
	assert.ok(written < 10, `${written} pieces were taken`);
});

test("a last line without an end is not given: it was cut on the way", async () => {
	const input = new PassThrough();
	const lines: string[] = [];
	readLines(input, 100, { onLine: (line) => lines.push(line), onTooLong: assert.fail });
	input.end("whole\ncu");
	await new Promise((resolve) => input.on("end", resolve));
	assert.deepEqual(lines, ["whole"]);
});
