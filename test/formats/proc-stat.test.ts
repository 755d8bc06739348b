import assert from "node:assert/strict";
import { test } from "node:test";
import { parseStat } from "../../src/formats/proc-stat.ts";

const rest = (memory: string, code: string) => `0 0 0 ${code}${" 0".repeat(20)} ${memory} 0`;
const line = (
	state: string,
	threads: number,
	name = "java",
	memory = "1000 1025 1025 1425",
	code = "1 1",
) =>
	`4242 (${name}) ${state} 1 4242 4242 0 -1 4227084 2957 6555 3 0 40 3 20 7 20 0 ${threads} 0 2424100 ${rest(memory, code)}`;

test("a process as proc(5) shows it, whatever its name", () => {
	const shown = {
		name: "java",
		parent: 1,
		alive: true,
		ended: false,
		kernel: false,
		startTime: 2424100,
		cpuTime: 70,
		sizes: { cmdline: 25, environ: 400 },
	};
	assert.deepEqual(parseStat(line("S", 80)), shown);
	const odd = "a) Z (b 1 2";
	assert.deepEqual(parseStat(line("R", 1, odd)), { ...shown, name: odd });
});

test("a zombie has ended, but not while one of its threads is still at work", () => {
	assert.equal(parseStat(line("Z", 1)).alive, false);
	assert.equal(parseStat(line("X", 0)).alive, false);
	assert.equal(parseStat(line("Z", 2)).alive, true);
});

test("a process whose first thread has ended shows no words any more, whatever its other threads do", () => {
	assert.equal(parseStat(line("Z", 2)).ended, true);
	assert.equal(parseStat(line("X", 2)).ended, true);
	assert.equal(parseStat(line("S", 2)).ended, false);
});

test("words and environment of a program that is being loaded are not empty but unknown", () => {
	const sizes = (memory: string, code?: string) =>
		parseStat(line("R", 1, "java", memory, code)).sizes;
	const unknown = { cmdline: undefined, environ: undefined };
	assert.deepEqual(sizes("0 0 0 0"), unknown);
	assert.deepEqual(sizes("1000 1025 1025 1025", "0 0"), unknown, "the environment comes last");
	assert.deepEqual(sizes("1000 1025 1025 1025"), { cmdline: 25, environ: 0 });
});

test("a thread of the kernel is told", () => {
	assert.equal(parseStat("2 (kthreadd) S 0 0 0 0 -1 2129984 0 0").kernel, true);
});
