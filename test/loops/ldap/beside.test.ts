import assert from "node:assert/strict";
import { chmodSync, existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import {
	checkWhole,
	configure,
	Directory,
	ldapPair,
	placeOf,
	readLog,
	realSize,
	startFollowing,
	waitFor,
	waitUntilNewest,
} from "./support.ts";

test("what cn=config does not name is not copied, and what lies beside it on the mirror is kept", async () => {
	await using pair = await ldapPair();
	const { a, b } = pair;
	for (const host of [a, b]) {
		for (const each of ["lost+found", "ldap.bak/mdb/db", "mdb/lost+found"]) {
			mkdirSync(host.path("data/ldap", each), { recursive: true });
		}
		writeFileSync(host.path("data/ldap/ldap.bak/mdb/db/data.mdb"), host.name);
		writeFileSync(host.path("data/ldap/notes.txt"), host.name);
		writeFileSync(host.path("data/ldap/config/cn=config.ldif.bak"), "nothing of slapd's");
		chmodSync(host.path("data/ldap/lost+found"), 0);
	}
	await using _loop = await startFollowing(b);
	await new Directory(a).addAccount("one");
	await waitFor("the account", b, () => new Directory(b).hasAccount("one"));
	await waitUntilNewest(pair);
	const names = ["config", "mdb", "state"];
	assert.deepEqual(readdirSync(placeOf(a, "snapshot")).toSorted(), names);
	assert.deepEqual(readdirSync(b.path("data/ldap")).toSorted(), [".live_sync.json", ...names]);
	assert.deepEqual(readdirSync(b.path("data/ldap/mdb")), ["db"]);
	assert.deepEqual(readdirSync(placeOf(b, "beside")).toSorted(), [
		"ldap.bak",
		"lost+found",
		"notes.txt",
	]);
	assert.match(readLog(b), /what lay in .*data\/ldap beside LDAP's own files .*kept=.*beside/);
	assert.equal(await checkWhole(b), await checkWhole(a));
});

test("file by file, too, only what cn=config names is copied, and not below disk_floor", async () => {
	await using pair = await ldapPair({ ldap: { writemap: false, entries: 10 } });
	const { a, b } = pair;
	await realSize(a);
	mkdirSync(a.path("data/ldap/ldap.bak"));
	writeFileSync(a.path("data/ldap/ldap.bak/data.mdb"), "old");
	// A PATH without mdb_copy.
	const tools = a.path("few-tools");
	mkdirSync(tools);
	for (const name of ["rsync", "sh"]) {
		writeFileSync(`${tools}/${name}`, `#!/bin/sh\nexec /usr/bin/${name} "$@"\n`, { mode: 0o755 });
	}
	configure(a, { path: tools });
	await using _loop = await startFollowing(b);
	assert.match(readLog(b), /copied file by file/);
	assert.equal(existsSync(placeOf(b, "staging/ldap.bak")), false);
	assert.equal(await checkWhole(b), await checkWhole(a));
});
