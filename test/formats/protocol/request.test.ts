import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
	findRequest,
	formatStreamRequest,
	maxRequestLength,
	parseRequest,
} from "../../../src/formats/protocol/request.ts";

const places = { rsyncDirectories: ["/opt/zimbra/redolog/", "/opt/zimbra/data/ldap/"] };
const parse = (text: string) => parseRequest(text, places);

const program = "/opt/zimbra/live_sync/sync_commands";
const sources: [string, string | undefined, string[], string | undefined][] = [
	["the 2011 mirror names the program: the verb is on standard input", program, [], undefined],
	["nothing at all: standard input", undefined, [], undefined],
	["ours adds the request to the program", `${program} hello`, [], "hello"],
	["the new name of the program", "/srv/sync-commands hello", [], "hello"],
	["a bare verb", "hello", [], "hello"],
	["an argument, without a forced command", undefined, ["test"], "test"],
	["words of the forced command go before what the client asks", "purge", ["test"], "test"],
	["rsync's own command", "rsync --server", [], "rsync --server"],
	["a key that is limited to one verb serves no rsync", "rsync --server", ["test"], "test"],
	["what only begins like rsync is a request like any other", "rsyncd x", [], "rsyncd x"],
	["a program of another name is no program", "/bin/sh hello", [], "/bin/sh hello"],
];
for (const [title, original, words, text] of sources) {
	test(`where the request is: ${title}`, () => {
		const expected = text === undefined ? { kind: "stdin" } : { kind: "text", text };
		assert.deepEqual(findRequest(original, words), expected);
	});
}

for (const verb of ["test", "stream", "wait_redo", "wait_ldap", "purge", "query_incremental"]) {
	test(`the verb ${verb} of 2011 takes no words`, () => {
		assert.deepEqual(parse(verb).request, { verb });
		assert.deepEqual(parse(` ${verb}  `).request, { verb });
		assert.ok(parse(`${verb} now`).refused);
	});
}

test("ldap_snapshot takes the name of a watch or, from a mirror of 2.0, no word", () => {
	const watch = "4711.991.2f1c-0a";
	assert.deepEqual(parse(`ldap_snapshot ${watch}`).request, { verb: "ldap_snapshot", watch });
	assert.deepEqual(parse("ldap_snapshot").request, { verb: "ldap_snapshot" });
	for (const words of ["../x", "a b", "a;b", "a".repeat(101)]) {
		assert.ok(parse(`ldap_snapshot ${words}`).refused, words);
	}
});

const position = { sequence: 17, offset: 4096, serverId: "5a1d-0b7e", createTime: 5, timeline: 2 };
const stream = { position, mirror: "192.0.2.7", compression: "zstd" } as const;

test("a stream request is read back as it was written", () => {
	assert.deepEqual(parse(formatStreamRequest(stream)).request, { verb: "stream_from", stream });
	const ipv6 = { ...stream, mirror: "2001:db8::1", compression: "none" } as const;
	assert.deepEqual(parse(formatStreamRequest(ipv6)).request, {
		verb: "stream_from",
		stream: ipv6,
	});
	// The zone of a link-local address is a name of the mirror's own, and no part of the request.
	const zoned = formatStreamRequest({ ...stream, mirror: "fe80::1%eth0" });
	assert.deepEqual(parse(zoned).request, {
		verb: "stream_from",
		stream: { ...stream, mirror: "fe80::1" },
	});
});

test("a stream request needs each of its words, once, and no other", () => {
	const whole = formatStreamRequest(stream);
	for (const word of whole.split(" ").slice(1)) {
		assert.ok(parse(whole.replace(` ${word}`, "")).refused, `without ${word}`);
		assert.ok(parse(`${whole} ${word}`).refused, `with ${word} twice`);
	}
	for (const word of ["x=1", "serverId=x", "__proto__=1", "constructor=1", "=", "server"]) {
		assert.ok(parse(`${whole} ${word}`).refused, `with ${word}`);
	}
});

for (const [name, value] of [
	["mirror", "../../etc/passwd"],
	["mirror", "."],
	["mirror", ".."],
	["mirror", ":::"],
	["mirror", "1.2.3"],
	["mirror", "fe80::1%../x"],
	["server", "a/b"],
	["server", ""],
	["create", "-1"],
	["create", "1e9"],
	["timeline", "0x2"],
	["compress", "gzip"],
]) {
	test(`a stream request with ${name}=${value} is refused`, () => {
		const text = formatStreamRequest(stream).replace(
			new RegExp(`${name}=\\S+`),
			`${name}=${value}`,
		);
		assert.ok(parse(text).refused);
	});
}

test("another protocol is refused with what to install", () => {
	const text = formatStreamRequest(stream).replace("protocol=1", "protocol=2");
	assert.match(parse(text).refused ?? "", /speaks protocol 1, not 2: install/);
});

for (const [title, text] of [
	["nothing", ""],
	["blanks only", "   "],
	["an unknown verb", "reboot"],
	["a verb in other letters", "TEST"],
	["a second command behind it", "test;id"],
	["a second line", "test\nid"],
	["a zero byte", "test\0"],
	["a letter of another script", "tеst"],
	["a no-break space", "stream\u00a01:2"],
	["a control character", "test\u001b[2J"],
	["more than fits", `test${" ".repeat(maxRequestLength)}`],
	["a property that every object has", "constructor"],
	["another one", "__proto__"],
]) {
	test(`refused: ${title}`, () => {
		assert.ok(parse(text ?? "").refused);
	});
}

test("whatever the text is, it is refused or is one of the known verbs", () => {
	const words = fc.constantFrom("stream", "test", "rsync", "--server", "--sender", ".", "1:2", " ");
	const texts = fc.oneof(
		fc.string({ unit: "binary", maxLength: 200 }),
		fc.array(fc.oneof(words, fc.string()), { maxLength: 12 }).map((each) => each.join(" ")),
	);
	fc.assert(
		fc.property(texts, (text) => {
			const { request, refused } = parse(text);
			assert.notEqual(request === undefined, refused === undefined);
			if (request === undefined) return;
			const [first] = text.trim().split(" ");
			assert.equal(request.verb.replace("_from", ""), first);
		}),
		{ numRuns: 2000 },
	);
});
