import assert from "node:assert/strict";
import { test } from "node:test";
import { sameData, sameMark } from "../../../src/formats/ldap/mark.ts";
import {
	decodeFromLdapSource,
	decodeSnapshot,
	type LdapHello,
	type LdapLook,
	type SnapshotAnswer,
} from "../../../src/formats/ldap/wire.ts";

const look: LdapLook = {
	kind: "look",
	transactionIds: { "mdb/db": 17 },
	sources: { "mdb/db": "1.2.boot" },
	files: "ab",
	coverage: { serverId: "s", sequence: 3, createTime: 4, timeline: 1, offset: 512 },
	clock: 5,
	heard: 6,
};

const answer: SnapshotAnswer = {
	zimbra: "Release 8.8.15.GA FOSS edition",
	...{ transactionIds: look.transactionIds, sources: look.sources, files: look.files },
	id: "id",
	directory: "/opt/zimbra/live_sync/ldap/snapshot",
	coverage: look.coverage,
	takenAt: 1,
	entries: { "mdb/db": 15_000 },
	contents: [{ path: "config/cn=config.ldif", size: 1, sha256: "00" }],
};

const hello: LdapHello = {
	kind: "hello",
	method: "files",
	reason: "no mdb_copy",
	directory: "/opt/zimbra/data/ldap",
	size: 333_000_000,
	watch: "1.2.boot",
};

test("what the live side says comes over as it was said", () => {
	assert.deepEqual(decodeFromLdapSource(JSON.stringify(hello)), hello);
	const { size: _, ...older } = hello;
	assert.deepEqual(decodeFromLdapSource(JSON.stringify(older)), { ...hello, size: undefined });
	assert.throws(() => decodeFromLdapSource(JSON.stringify({ ...hello, size: -1 })));
	assert.deepEqual(decodeFromLdapSource(JSON.stringify(look)), look);
	assert.deepEqual(decodeSnapshot(JSON.stringify(answer)), answer);
});

test("a path that would lead out of the directory is refused, whoever sent it", () => {
	for (const path of ["../x", "/etc/passwd", "a//b", "a/../../b", "", "a/.", "a\0b"]) {
		const contents = [{ path, size: 1, sha256: "00" }];
		assert.throws(
			() => decodeSnapshot(JSON.stringify({ ...answer, contents })),
			/not a path/,
			path,
		);
		const ids = { ...look, transactionIds: { [path]: 1 } };
		assert.throws(() => decodeFromLdapSource(JSON.stringify(ids)), /not a path/, path);
	}
	for (const directory of ["snapshot", "/a\nb", 5]) {
		assert.throws(() => decodeSnapshot(JSON.stringify({ ...answer, directory })));
	}
});

test("of the passwords of a live server only names that are names come over, and not without end", () => {
	const passwords = (names: readonly string[]) => ({
		...{ kind: "passwords", nonce: "00" },
		digests: Object.fromEntries(names.map((name) => [name, "ab"])),
	});
	const good = ["ldap_root_password", "zimbra_ldap_password"];
	const bad = ["x; rm -rf ~", "$(id)", "-e", "a b", "`id`", "", "../x", "a\nb", "a".repeat(82)];
	assert.deepEqual(
		decodeFromLdapSource(JSON.stringify(passwords([...bad, ...good]))),
		passwords(good),
	);
	const many = Array.from({ length: 1000 }, (_, index) => `ldap_${index}_password`);
	const decoded = decodeFromLdapSource(JSON.stringify(passwords(many)));
	assert.equal(decoded.kind === "passwords" && Object.keys(decoded.digests).length, 50);
});

test("anything else is refused with a word, never half read", () => {
	for (const line of [
		"",
		"{",
		"null",
		"5",
		'{"kind":"other"}',
		JSON.stringify({ ...look, clock: -1 }),
	]) {
		assert.throws(() => decodeFromLdapSource(line), Error, line);
	}
});

test("transaction ids compare only within one file of one boot", () => {
	assert.equal(sameMark(look, { ...look }), true);
	assert.equal(sameMark(look, { ...look, files: "cd" }), false);
	assert.equal(sameData(look, { ...look, files: "cd" }), true);
	assert.equal(sameData(look, { ...look, transactionIds: { "mdb/db": 18 } }), false);
	assert.equal(sameData(look, { ...look, sources: { "mdb/db": "1.2.later boot" } }), false);
	const more = { ...look.transactionIds, "accesslog/db": 1 };
	assert.equal(sameData(look, { ...look, transactionIds: more }), false);
});
