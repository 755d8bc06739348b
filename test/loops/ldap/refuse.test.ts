import assert from "node:assert/strict";
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { writeRole } from "../../../src/services/role.ts";
import type { Host } from "../../pair/host.ts";
import {
	checkWhole,
	configure,
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

/** Puts a script before the tool of that name; it misbehaves while `flag` names a mischief. */
function tamper(host: Host, tool: string, script: string): { flag: string } {
	const directory = join(host.directory, "tampered");
	mkdirSync(directory, { recursive: true });
	const file = join(directory, tool);
	const flag = join(directory, `${tool}.flag`);
	writeFileSync(file, `#!/bin/sh\nflag=${flag}\n${script}\n`);
	chmodSync(file, 0o755);
	const usual = `${host.path("bin")}:/usr/sbin:/usr/bin:/sbin:/bin`;
	configure(host, { path: `${directory}:${usual}` });
	return { flag };
}

test("a copy with flipped bytes is refused, and the previous one serves on", async () => {
	await using pair = await ldapPair({ ldap: { writemap: true, entries: 200 } });
	const { a, b } = pair;
	// Flips bytes in what was copied from staging, at the place that the flag names.
	const { flag } = tamper(
		b,
		"cp",
		`/bin/cp "$@" || exit 1
for last; do :; done
[ -f "$flag" ] || exit 0
printf 'torn' | dd of="$last/$(head -n 1 "$flag")" bs=1 seek="$(tail -n 1 "$flag")" conv=notrunc 2>/dev/null`,
	);
	const live = new Directory(a);
	const mirror = new Directory(b);
	await live.addAccount("before");
	await using _loop = await startFollowing(b);

	const data = readFileSync(b.path("live_sync/ldap/staging/mdb/db/data.mdb"));
	const places = {
		"the head of a page": ["mdb/db/data.mdb", 20 * 4096 + 10],
		// No tool minds another letter in a value; the digest does.
		"a value": ["mdb/db/data.mdb", data.indexOf("signature signature") + 2],
		"the newer meta page": ["mdb/db/data.mdb", 4096 + 144],
		"cn=config": ["config/cn=config.ldif", 60],
	} as const;
	for (const [what, [path, offset]] of Object.entries(places)) {
		writeFileSync(flag, `${path}\n${offset}\n`);
		const from = readLog(b).length;
		const good = installedCopy(b)?.id;
		await live.addAccount(`new-${offset}`);
		await waitFor(`the refusal of ${what}`, b, () => {
			return /is not used|cannot be read|does not begin/.test(readLog(b).slice(from));
		});
		assert.equal(installedCopy(b)?.id, good, what);
		assert.equal(await mirror.hasAccount("before"), true, what);
		rmSync(flag);
		await waitFor("it to be mended", b, () => mirror.hasAccount(`new-${offset}`));
		await waitFor("the round's end", b, () => readState(b)?.problems.length === 0);
		assert.equal(await checkWhole(b), installedCopy(b)?.entries, what);
	}
});

test("a copy that is refused is not fetched again before its time", async () => {
	await using pair = await ldapPair({ settings: { ldap_interval: "1m" } });
	const { a, b } = pair;
	tamper(b, "cp", `/bin/cp "$@"; for last; do :; done; rm "$last/config/cn=config.ldif"`);
	await using _loop = startLoop(b);
	await waitFor("the refusal", b, () => /is not used/.test(readLog(b)));
	await sleep(5000);
	assert.equal(snapshotsOf(a), 1);
});

test("a link that is cut while the first copy is put off is noticed, and the loop still does what it is told", async () => {
	await using pair = await ldapPair({ proxy: true, settings: { ldap_interval: "10m" } });
	const { b, links } = pair;
	tamper(b, "cp", `/bin/cp "$@"; for last; do :; done; rm "$last/config/cn=config.ldif"`);
	const loop = startLoop(b);
	try {
		await waitFor("the refusal", b, () => /is not used/.test(readLog(b)));
		await waitFor("the next connection", b, () => readState(b)?.phase === "watching");
		links.toA.refuse();
		await waitFor(
			"the cut to be said",
			b,
			() => readState(b)?.problems.some(({ message }) => /connection/.test(message)),
			20_000,
		);
		writeFileSync(b.path("live_sync/status/live_sync.stop"), "");
		assert.equal(await Promise.race([loop.ended, sleep(20_000, "it goes on", { ref: false })]), 0);
	} finally {
		loop.child.kill("SIGKILL");
	}
});

test("with too little room on the mirror no copy is fetched, and what is left of one before makes room", async () => {
	await using pair = await ldapPair();
	const { b } = pair;
	for (const rest of ["next", "discarded"]) mkdirSync(placeOf(b, rest, "mdb"), { recursive: true });
	const text = readFileSync(b.confFile, "utf8");
	writeFileSync(b.confFile, text.replace(/^disk_floor=.*$/m, 'disk_floor="900T"'));
	await using _loop = startLoop(b);
	const problem = await waitFor("the problem", b, () => readState(b)?.problems[0]);
	assert.match(problem.message, /live_sync\/ldap: \d+ MiB free.*disk_floor/);
	for (const place of ["next", "discarded", "staging"]) {
		assert.equal(existsSync(placeOf(b, place)), false, place);
	}
});

test("a torn copy from the live server is refused, though its digests are those of the live server", async () => {
	await using pair = await ldapPair({ ldap: { writemap: true, entries: 1000 } });
	const { a, b } = pair;
	// The first part of one state and the rest of an older one.
	const { flag } = tamper(
		a,
		"mdb_copy",
		`[ "$1" = -V ] && exec /usr/bin/mdb_copy -V
/usr/bin/mdb_copy "$@" || exit 1
for last; do :; done
[ -f "$flag.old" ] || cp "$last/data.mdb" "$flag.old"
[ -f "$flag" ] || exit 0
part=$(($(stat -c %s "$flag.old") * 3 / 16384))
dd if="$flag.old" of="$last/data.mdb" bs=4096 skip=$part seek=$part conv=notrunc 2>/dev/null`,
	);
	const live = new Directory(a);
	const mirror = new Directory(b);
	await using _loop = await startFollowing(b);
	const changes = Array.from({ length: 300 }, (_, i) => {
		const dn = `dn: uid=bulk${i * 3},ou=people,dc=example,dc=net\nchangetype:`;
		if (i % 3 === 0) return `${dn} delete\n`;
		return `${dn} modify\nreplace: description\ndescription: ${"changed ".repeat(i * 3)}.\n`;
	});
	await live.change(changes.join("\n"));
	// Of few changes a torn copy may be the copy before, and whole.
	await waitUntilNewest(pair);
	const good = installedCopy(b)?.id;
	writeFileSync(flag, "");
	await live.addAccount("more");
	// Where even the number of entries cannot be read, the live side says so itself.
	await waitFor("the refusal", b, () => /is not used|MDB_/.test(readLog(b)));
	assert.equal(installedCopy(b)?.id, good);
	assert.equal(await mirror.hasAccount("bulk1"), true);

	rmSync(flag);
	await waitFor("a whole copy", b, () => mirror.hasAccount("more"));
	await waitUntilNewest(pair);
	assert.equal(await checkWhole(b), await checkWhole(a));
});

test("with other LDAP passwords in localconfig.xml the mirror says so and is not locked out", async () => {
	await using pair = await ldapPair();
	const { a, b } = pair;
	const mirror = new Directory(b);
	await using _loop = await startFollowing(b);
	await waitFor("the comparison", b, () => readState(b)?.passwordsDiffer === false);
	const file = b.path("conf/localconfig.xml");
	const text = readFileSync(file, "utf8");
	writeFileSync(file, text.replace("secret-of-zimbra", "another-secret"));
	await waitFor("the drift", b, () => readState(b)?.passwordsDiffer);
	const good = installedCopy(b)?.id;
	await sleep(1500);
	const before = snapshotsOf(a);
	await new Directory(a).addAccount("held");
	const problem = await waitFor("the problem", b, () =>
		readState(b)?.problems.find(({ code }) => code === "ldap-password-drift"),
	);
	assert.equal(problem.critical, true);
	assert.match(problem.message, /zimbra_ldap_password .*conf\/localconfig\.xml/);
	assert.match(problem.hint ?? "", /zmlocalconfig/);
	await waitFor("the round to be held", b, () => readLog(b).includes("not put in use until"));
	await sleep(2500);
	assert.equal(snapshotsOf(a), before, "nothing is copied that could not be used");
	assert.equal(installedCopy(b)?.id, good);
	assert.doesNotMatch(JSON.stringify(readState(b)) + readLog(b), /secret-of|another-secret/);

	writeFileSync(file, text);
	await waitFor("the held account", b, () => mirror.hasAccount("held"));
	await waitFor("the problem's end", b, () => readState(b)?.problems.length === 0);
});

test("an upgrade of the live server: LDAP of another version of Zimbra is not used, and replay waits", async () => {
	await using pair = await ldapPair();
	const { a, b } = pair;
	const mirror = new Directory(b);
	await using _loop = await startFollowing(b);
	const good = installedCopy(b)?.id;
	upgrade(a);
	await new Directory(a).addAccount("upgraded");
	const problem = await waitFor("the problem", b, () =>
		readState(b)?.problems.find(({ code }) => code === "zimbra-version"),
	);
	assert.equal(problem.critical, true);
	assert.match(problem.message, /the release, 9\.0\.0\S* there and 8\.8\.15\S* here/);
	assert.equal(installedCopy(b)?.id, good);
	assert.equal(await mirror.hasAccount("upgraded"), false);
	const covered = readState(b)?.coverage?.offset;
	await a.mailbox.deliver({ to: ["user1@example.net"] });
	await sleep(1500);
	assert.equal(readState(b)?.coverage?.offset, covered);

	upgrade(b);
	await waitFor("the account", b, () => mirror.hasAccount("upgraded"));
	await waitFor("the problem's end", b, () => readState(b)?.problems.length === 0);
});

/** What an installer leaves of another release, as far as `zmcontrol -v` tells. */
function upgrade(host: Host): void {
	writeFileSync(host.path(".version"), "Release 9.0.0.GA.3924.UBUNTU18.64 FOSS edition.\n");
	writeFileSync(host.path(".install_history"), "2: CONFIGURED zimbra-core_9.0.0.GA.3924\n");
}

test("an LDAP of the mirror that does not start is said, and a copy with which it does ends that", async () => {
	await using pair = await ldapPair();
	const { a, b } = pair;
	const first = await startFollowing(b);
	await first.stop();
	await b.mustRun("ldap", "stop");
	b.startFails("ldap", true);
	await using _loop = startLoop(b);
	const problem = await waitFor("the problem", b, () => readState(b)?.problems[0]);
	assert.match(problem.message, /LDAP of this server does not serve: ldap did not start/);
	assert.equal(problem.critical, true);
	await waitFor("the link", b, () => readState(b)?.phase === "watching");
	await sleep(1000);
	assert.equal(readState(b)?.problems.length, 1, "it lasts, though the copy is the newest");
	b.startFails("ldap", false);
	await new Directory(a).addAccount("next");
	await waitFor("the account", b, () => new Directory(b).hasAccount("next"));
	await waitFor("the problem's end", b, () => readState(b)?.problems.length === 0);
});

test("invariant 7: on a server that was made the live one the loop withdraws and leaves its LDAP alone", async () => {
	await using pair = await ldapPair();
	const { a, b } = pair;
	const role = b.path("live_sync/status/role.json");
	const first = await startFollowing(b);
	const good = installedCopy(b)?.id;
	const slapd = b.servicePid("ldap");

	await writeRole(role, { version: 1, role: "live", timeline: 2, since: 0 });
	await new Directory(a).addAccount("later");
	assert.equal(await first.ended, 1);
	assert.match(readLog(b), /this server was made the live one .* its LDAP is left alone/);

	// Nobody has told us, but mailboxd runs.
	rmSync(role);
	await b.mustRun("mysql.server", "start");
	await b.mustRun("zmmailboxdctl", "start");
	assert.equal(await startLoop(b).ended, 1);
	assert.match(readLog(b), /mailboxd runs on this server, process \d+/);
	assert.equal(installedCopy(b)?.id, good);
	assert.equal(b.servicePid("ldap"), slapd);
});

for (const [what, leave] of [
	["to which nothing comes", () => undefined],
	["whose live server is dead", (live: Host) => live.crash()],
] as const) {
	test(`invariant 7: a loop ${what} withdraws too where mailboxd is started beside it`, async () => {
		await using pair = await ldapPair();
		const { a, b } = pair;
		const loop = await startFollowing(b);
		await waitUntilNewest(pair);
		const [good, slapd] = [installedCopy(b)?.id, b.servicePid("ldap")];
		await leave(a);
		await b.mustRun("mysql.server", "start");
		await b.mustRun("zmmailboxdctl", "start");
		await waitFor("its withdrawal", b, () => loop.child.exitCode !== null);
		assert.equal(await loop.ended, 1);
		assert.match(readLog(b), /mailboxd runs on this server, process \d+/);
		assert.deepEqual([installedCopy(b)?.id, b.servicePid("ldap")], [good, slapd]);
	});
}

/** How many snapshots were asked of a live server. */
function snapshotsOf(host: Host): number {
	const log = readFileSync(host.path("live_sync/log/sync_commands.log"), "utf8");
	return log.match(/request="?ldap_snapshot/g)?.length ?? 0;
}
