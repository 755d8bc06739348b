import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { formatHello, type Hello, parseHello } from "../../../src/formats/protocol/hello.ts";

const hello: Hello = {
	protocol: 1,
	program: "2.0.0",
	zimbra: "Release 8.8.15.GA.3869.UBUNTU18.64 UBUNTU18_64 FOSS edition",
	redolog: { serverId: "5a1d", sequence: 17, createTime: 5, size: 4096, open: true },
	role: "live",
	timeline: 1,
	mailboxd: "running",
	liveSyncd: "stopped",
	capabilities: ["zstd", "mdb_copy"],
	clock: 1_795_452_632_261,
	diskFree: { redolog: 1, base: 2 },
};

test("what one side writes the other reads", () => {
	assert.deepEqual(parseHello(formatHello(hello)), hello);
});

test("what could not be measured is left out, and read as unknown", () => {
	const bare = { ...hello, zimbra: undefined, redolog: undefined, diskFree: {} };
	const text = formatHello(bare);
	assert.doesNotMatch(text, /zimbra|redolog|null/);
	assert.deepEqual(parseHello(text), {
		...bare,
		diskFree: { redolog: undefined, base: undefined },
	});
});

test("what a login shell prints before it is passed over", () => {
	for (const noise of ["Welcome!\n{}\n", "Welcome! ", "\u001b[1m{", "Welcome!\r\n"]) {
		assert.deepEqual(parseHello(noise + formatHello(hello)), hello, noise);
	}
});

test("its words are made plain and cut where they come in", () => {
	const said = `\u001b[31m${"x".repeat(10_000)}\u202e`;
	const read = parseHello(
		formatHello({ ...hello, zimbra: said, program: said, capabilities: [said] }),
	);
	for (const each of [read?.zimbra, read?.program, read?.capabilities[0]]) {
		assert.match(each ?? "", /^x+ \[…cut, of \d+ characters\]$/);
	}
});

test("the answer of the 2011 script, which runs rsync for what it does not know, is no hello", () => {
	assert.equal(parseHello("rsync  version 3.0.6  protocol version 30\n"), undefined);
});

test("a later version may say more", () => {
	const text = `${JSON.stringify({ ...hello, more: [1] })}\n`;
	assert.deepEqual(parseHello(text), hello);
});

test("with any one field missing or of another type it is no hello", () => {
	const wrong = fc.oneof(
		fc.constant(undefined),
		fc.constant(null),
		fc.constant(-1),
		fc.constant({}),
	);
	const optional = new Set(["zimbra", "redolog"]);
	fc.assert(
		fc.property(
			fc.constantFrom(...(Object.keys(hello) as (keyof Hello)[])),
			wrong,
			(name, value) => {
				fc.pre(!(value === undefined && optional.has(name)));
				fc.pre(!(name === "diskFree" && JSON.stringify(value) === "{}"));
				assert.equal(parseHello(`${JSON.stringify({ ...hello, [name]: value })}\n`), undefined);
			},
		),
	);
});
