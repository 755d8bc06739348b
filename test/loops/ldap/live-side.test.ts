import assert from "node:assert/strict";
import {
	chmodSync,
	existsSync,
	mkdirSync,
	readdirSync,
	readFileSync,
	renameSync,
	symlinkSync,
	truncateSync,
	writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { Host } from "../../pair/host.ts";
import { signal } from "../../pair/processes.ts";
import { runToEnd } from "../../pair/run.ts";
import {
	checkWhole,
	configure,
	Directory,
	installedCopy,
	ldapPair,
	placeOf,
	readLog,
	readState,
	realSize,
	startFollowing,
	startLoop,
	waitFor,
} from "./support.ts";

test("a black-holed link is noticed at both ends, and nothing stays behind on the live server", async () => {
	await using pair = await ldapPair({
		proxy: true,
		settings: { link_timeout: "5s", heartbeat_interval: "300ms" },
	});
	const { a, b, links } = pair;
	const loop = await startFollowing(b);
	const before = readState(b)?.installed?.id;
	const running = () => a.processes().some(({ command }) => command.includes("sync-commands"));
	assert.equal(running(), true);
	assert.equal(existsSync(placeOf(a, "snapshot")), true);

	links.toA.blackHole();
	await waitFor("the mirror to notice", b, () =>
		readState(b)?.problems.some(({ message }) =>
			/said nothing|Keepalive|timed? ?out/i.test(message),
		),
	);
	await waitFor("the live side to notice", b, () => !running());
	assert.equal(existsSync(placeOf(a, "snapshot")), false, "the snapshot is removed");
	assert.equal(readState(b)?.installed?.id, before);

	await new Directory(a).addAccount("meanwhile");
	links.toA.heal();
	await waitFor("what was missed", b, () => new Directory(b).hasAccount("meanwhile"));
	await loop.stop();
	// The session of sshd outlives its command for a moment.
	await waitFor("the end of the live side", b, () => a.strayProcesses().length === 0);
	assert.deepEqual(readdirSync(placeOf(a)), []);
});

test("a mirror that dies right after its snapshot was made leaves none on the live server", async () => {
	// It is not heard of between the snapshot and its death.
	await using pair = await ldapPair({
		settings: { heartbeat_interval: "10s", link_timeout: "30s" },
	});
	const { a, b } = pair;
	assert.equal(await startLoop(b, "ldap-round:after-pull").ended, "SIGKILL");
	await waitFor("the end of the live side", b, () => a.strayProcesses().length === 0);
	assert.deepEqual(readdirSync(placeOf(a)), []);
});

test("an mdb_copy that does not end well leaves no reader in the live database", async () => {
	await using pair = await ldapPair({
		ldap: { writemap: true, entries: 300 },
		settings: { ldap_copy_timeout: "1s" },
	});
	const { a, b } = pair;
	// It holds its read transaction while nobody takes what it writes; told to end, it would close it.
	const hangs = tool(
		a,
		"mdb_copy",
		`[ "$1" = -V ] || { trap "" TERM; /usr/bin/mdb_copy "$1" | sleep 1000; }`,
	);
	const loop = startLoop(b);
	await waitFor("a reader", b, async () => (await readers(a)).length > 0);
	await waitFor("the failure", b, () => /mdb_copy .* did not end in time/.test(readLog(b)));
	await loop.stop();
	// It may have asked once more before it was stopped.
	await waitFor("the end of the live side", b, () => a.strayProcesses().length === 0);
	assert.deepEqual(await readers(a), []);
	assert.equal(existsSync(placeOf(a, "snapshot.new")), false);
	writeFileSync(hangs, `#!/bin/sh\nexec /usr/bin/mdb_copy "$@"\n`);
	configureAnew(a, "ldap_copy_timeout", "5m");
	await using _again = await startFollowing(b);
});

test("an mdb_copy that hangs and has lost its sync-commands is ended by the next one", async () => {
	await using pair = await ldapPair({ ldap: { writemap: true, entries: 300 } });
	const { a, b } = pair;
	const hangs = tool(a, "mdb_copy", `[ "$1" = -V ] || /usr/bin/mdb_copy "$1" | sleep 1000`);
	await using _loop = startLoop(b);
	await waitFor("a reader", b, async () => (await readers(a)).length > 0);
	writeFileSync(hangs, `#!/bin/sh\nexec /usr/bin/mdb_copy "$@"\n`);
	for (const { pid, command } of a.processes()) {
		if (command.includes("sync-commands")) signal(pid, "SIGKILL");
	}
	await waitFor("the first copy", b, () => installedCopy(b));
	assert.deepEqual(await readers(a), []);
});

test("LDAP first: the position that a copy covers was read before the copy was begun", async () => {
	await using pair = await ldapPair();
	const { a, b } = pair;
	const begun = join(a.directory, "begun");
	const size = `stat -c %s ${a.path("redolog/redo.log")}`;
	tool(
		a,
		"mdb_copy",
		`[ "$1" = -V ] || { [ -f ${begun} ] || ${size} >${begun}.new; mv -n ${begun}.new ${begun}; sleep 2; }
exec /usr/bin/mdb_copy "$@"`,
	);
	await using _loop = startLoop(b);
	await waitFor("the copy's beginning", b, () => existsSync(begun));
	await a.mailbox.deliver({ to: ["user1@example.net"], size: 5000 });
	const copy = await waitFor("the copy", b, () => installedCopy(b));
	assert.equal(copy.coverage?.offset, Number(readFileSync(begun, "utf8")));
});

test("cn=config that changes under a copy is copied once more, and the data with it", async () => {
	await using pair = await ldapPair();
	const { a, b } = pair;
	const changed = join(a.directory, "changed");
	const file = a.path("data/ldap/config/cn=config.ldif");
	tool(
		a,
		"mdb_copy",
		`[ "$1" = -V ] || { echo >>${changed}; [ $(wc -l <${changed}) -gt 1 ] || echo "# changed" >>${file}; }
exec /usr/bin/mdb_copy "$@"`,
	);
	await using _loop = startLoop(b);
	const copy = await waitFor("the first copy", b, () => installedCopy(b));
	assert.equal(readFileSync(changed, "utf8").length, 2);
	assert.equal(
		readFileSync(placeOf(b, "staging/config/cn=config.ldif"), "utf8"),
		readFileSync(file, "utf8"),
	);
	await waitFor("quiet", b, () => readState(b)?.phase === "watching");
	assert.equal(installedCopy(b)?.id, copy.id);
});

test("of a data.mdb that was replaced while it was copied there is no snapshot", async () => {
	await using pair = await ldapPair();
	const { a, b } = pair;
	const data = a.path("data/ldap/mdb/db/data.mdb");
	const replaced = join(a.directory, "replaced");
	tool(
		a,
		"mdb_copy",
		`/usr/bin/mdb_copy "$@" || exit
[ "$1" = -V ] || [ -f ${replaced} ] || { cp --sparse=always ${data} ${replaced} && cp --sparse=always ${replaced} ${data}.new && mv ${data}.new ${data}; }`,
	);
	await using _loop = startLoop(b);
	await waitFor("it to be said", b, () =>
		/data\/ldap\/mdb\/db\/data\.mdb was replaced while it was copied/.test(readLog(b)),
	);
	assert.equal(installedCopy(b), undefined);
	await waitFor("a copy of the new one", b, () => installedCopy(b));
});

test("with too little room on the live server no copy is begun, and it is said", async () => {
	await using pair = await ldapPair();
	const { a, b } = pair;
	configureAnew(a, "disk_floor", "900T");
	await using _loop = startLoop(b);
	const problem = await waitFor("the problem", b, () => readState(b)?.problems[0]);
	assert.match(problem.message, /live_sync\/ldap: \d+ MiB free.*disk_floor/);
	assert.equal(existsSync(placeOf(a, "snapshot")), false);

	// Whatever else lies in data/ldap, a backup say, takes no room.
	const backup = a.path("data/ldap/ldap.bak");
	writeFileSync(backup, "");
	truncateSync(backup, 8 * 1024 ** 4);
	configureAnew(a, "disk_floor", "1M");
	await waitFor("a copy", b, () => readState(b)?.installed);
});

test("a database behind a link, on another disk, is copied like any other", async () => {
	await using pair = await ldapPair();
	const { a, b } = pair;
	await a.mustRun("ldap", "stop");
	renameSync(a.path("data/ldap/mdb"), join(a.directory, "other-disk"));
	symlinkSync(join(a.directory, "other-disk"), a.path("data/ldap/mdb"));
	await a.mustRun("ldap", "start");
	await using _loop = await startFollowing(b);
	await new Directory(a).addAccount("linked");
	await waitFor("the account", b, () => new Directory(b).hasAccount("linked"));
	assert.equal(await checkWhole(b), await checkWhole(a));
});

test("without mdb_copy the files are copied until nothing changes meanwhile", async () => {
	await using pair = await ldapPair({
		ldap: { writemap: false, entries: 100 },
		settings: { ldap_interval: "1s" },
	});
	const { a, b } = pair;
	await realSize(a);
	const directory = join(a.directory, "few-tools");
	mkdirSync(directory);
	for (const name of ["rsync", "sh"]) symlinkSync(`/usr/bin/${name}`, join(directory, name));
	configure(a, { path: directory });
	await using _loop = await startFollowing(b);
	assert.match(readLog(b), /copied file by file.*mdb_copy is not installed/);
	const live = new Directory(a);
	await live.addAccount("slowly");
	await waitFor("the account", b, () => new Directory(b).hasAccount("slowly"));
	assert.equal(await checkWhole(b), await checkWhole(a));

	// Changes without a pause: it gives up for a while rather than use what it got.
	let ending = false;
	const changing = (async () => {
		for (let i = 0; !ending; i++) await live.addAccount(`busy${i}`).catch(() => sleep(10));
	})();
	try {
		await waitFor("its giving up", b, () => /changed during each of 5 copies/.test(readLog(b)));
	} finally {
		ending = true;
		await changing;
	}
	await waitFor("the rest", b, async () => {
		const [here, there] = [
			await new Directory(b).search("", "(uid=*)", "uid"),
			await live.search("", "(uid=*)", "uid"),
		];
		return here !== undefined && here.length === there?.length;
	});
});

/** Who reads the live database, but for slapd. */
async function readers(host: Host): Promise<number[]> {
	const { stdout } = await runToEnd("mdb_stat", ["-r", host.path("data/ldap/mdb/db")]);
	const pids = [...stdout.matchAll(/^\s+(\d+) [0-9a-f]+ /gm)].map(([, pid]) => Number(pid));
	return pids.filter((pid) => pid !== host.servicePid("ldap"));
}

/** Replaces a tool for the programs of that host. */
function tool(host: Host, name: string, script: string): string {
	const directory = join(host.directory, "tools");
	mkdirSync(directory, { recursive: true });
	const file = join(directory, name);
	writeFileSync(file, `#!/bin/sh\n${script}\n`);
	chmodSync(file, 0o755);
	configure(host, { path: `${directory}:${host.path("bin")}:/usr/sbin:/usr/bin:/sbin:/bin` });
	return file;
}

function configureAnew(host: Host, name: string, value: string): void {
	const text = readFileSync(host.confFile, "utf8");
	writeFileSync(host.confFile, text.replace(new RegExp(`^${name}=.*$`, "m"), `${name}="${value}"`));
}
