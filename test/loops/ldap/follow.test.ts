import assert from "node:assert/strict";
import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import {
	checkWhole,
	Directory,
	installedCopy,
	ldapPair,
	placeOf,
	readLog,
	readState,
	startFollowing,
	startLoop,
	waitFor,
	waitUntilNewest,
} from "./support.ts";

for (const writemap of [true, false]) {
	const mode = writemap ? "writemap and nosync, as Zimbra ships it" : "plain files";
	test(`what changes on the live directory is on the mirror soon (${mode})`, async () => {
		await using pair = await ldapPair({ ldap: { writemap, entries: 50 } });
		const { a, b } = pair;
		await using _loop = startLoop(b);
		const live = new Directory(a);
		const mirror = new Directory(b);

		await live.addAccount("fresh");
		await waitFor("the new account", b, () => mirror.hasAccount("fresh"));
		await live.change(
			"dn: uid=fresh,ou=people,dc=example,dc=net\nchangetype: modify\nreplace: sn\nsn: other\n",
		);
		await waitFor("the modified one", b, async () => {
			const [entry] = (await mirror.search("", "(uid=fresh)", "sn")) ?? [];
			return entry?.sn?.[0] === "other";
		});
		await live.deleteAccount("fresh");
		await waitFor("its end", b, async () => (await mirror.hasAccount("fresh")) === false);

		// cn=config comes with it, in one generation.
		await new Directory(a, "root").change(
			"dn: olcDatabase={2}mdb,cn=config\nchangetype: modify\nadd: olcDbIndex\nolcDbIndex: sn eq\n",
		);
		await waitFor("the new index", b, async () => {
			const root = new Directory(b, "root");
			const found = await root.search("cn=config", "(olcDbIndex=sn eq)", "olcDbIndex");
			return found !== undefined && found.length === 1;
		});
		// The index is filled by transactions of its own.
		await waitUntilNewest(pair);

		// Modes as on the live host, nothing of its run, nothing left behind by the checks.
		for (const below of ["", "config", "mdb/db", "mdb/db/data.mdb"]) {
			const path = join("data/ldap", below);
			assert.equal(statSync(b.path(path)).mode, statSync(a.path(path)).mode, path);
		}
		assert.equal(existsSync(placeOf(b, "staging/mdb/db/lock.mdb")), false);
		assert.equal(existsSync(placeOf(b, "staging/state/run/slapd.pid")), false);
		assert.equal(await checkWhole(b), await checkWhole(a));
	});
}

test("nothing is copied when nothing has changed, and the coverage moves on all the same", async () => {
	await using pair = await ldapPair({ ldap: { writemap: true } });
	const { a, b } = pair;
	const loop = await startFollowing(b);
	await sleep(1500);
	const before = readState(b);
	// Mail moves the live position, not LDAP.
	await a.mailbox.deliver({ to: ["user1@example.net"], size: 5000 });
	const { offset } = await a.mailbox.position();
	assert.ok(offset > (before?.coverage?.offset ?? 0));
	const after = await waitFor("a later coverage", b, () => {
		const state = readState(b);
		return state?.coverage?.offset === offset && state;
	});
	assert.equal(after.rounds, before?.rounds);
	assert.equal(after.installed?.id, before?.installed?.id);
	assert.equal(await loop.stop(), 0);
	assert.equal(readState(b)?.phase, "stopped");

	// Nor by a loop that is started again.
	const copy = installedCopy(b)?.id;
	await using _again = startLoop(b);
	await waitFor("its first words", b, () => readState(b)?.phase === "watching");
	await sleep(1500);
	assert.equal(readState(b)?.rounds, 0);
	assert.equal(installedCopy(b)?.id, copy);
	assert.equal(readState(b)?.coverage?.offset, after.coverage?.offset);
});

test("what was written on the mirror itself does not stay", async () => {
	await using pair = await ldapPair();
	const { b } = pair;
	const first = await startFollowing(b);
	await first.stop();
	await new Directory(b).addAccount("stray");
	await using _loop = startLoop(b);
	await waitFor("the stray account's end", b, async () => {
		return (await new Directory(b).hasAccount("stray")) === false;
	});
	assert.match(readLog(b), /LDAP was written to on this server/);
});

test("a burst of changes is one round", async () => {
	// Quiet for longer than any pause of a slow machine in the middle of the burst.
	await using pair = await ldapPair({ settings: { ldap_quiet: "5s", ldap_interval: "12s" } });
	const { a, b } = pair;
	await using _loop = await startFollowing(b);
	await sleep(500);
	await new Directory(a).addAccount(...Array.from({ length: 20 }, (_, i) => `burst${i}`));
	await waitFor("the last of them", b, () => new Directory(b).hasAccount("burst19"));
	await waitFor("the state", b, () => readState(b)?.rounds === 2);
	assert.equal(await new Directory(b).hasAccount("burst0"), true);
});
