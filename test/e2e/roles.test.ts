import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import {
	cpSync,
	existsSync,
	mkdirSync,
	readdirSync,
	readFileSync,
	renameSync,
	rmSync,
	writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { Host } from "../pair/host.ts";
import { createPair, type Pair } from "../pair/pair.ts";
import { canMountSmallDisk, SmallDisk } from "../pair/small-disk.ts";
import { makeKey } from "../pair/sshd.ts";
import { type AccountFile, accountFile } from "../pair/store/accounts.ts";
import { compareStores } from "../pair/store-dump.ts";
import { until } from "../pair/until.ts";
import {
	assertExecutedOnce,
	assertNothingRuns,
	caughtUp,
	deliver,
	holds,
	killLoops,
	liveSyncd,
	quick,
	quickly,
	redologs,
	someone,
} from "./support.ts";

/** `start` on a host is refused with that code, says what to do, and changes nothing of the redo log. */
async function refused(host: Host, code: string): Promise<string> {
	const before = redologs(host);
	const said = await liveSyncd(host, "start", 1);
	assert.match(said, new RegExp(`\\[${code}\\]`));
	assert.match(said, /\n {2}try: /);
	assert.deepEqual(redologs(host), before);
	assert.deepEqual(
		host.processes().filter(({ command }) => / loop /.test(command)),
		[],
	);
	return said;
}

test("invariant 7: start on the live server, and where the peer is not live, changes nothing and says why", async () => {
	await using pair = await createPair({ ...quickly });
	const { a, b } = pair;
	await deliver(pair, 3);
	assert.ok((await refused(a, "is-live")).includes(`mailboxd does not run on ${b.address}`));
	await a.stopZimbra();
	assert.ok((await refused(b, "peer-not-live")).includes(`mailboxd does not run on ${a.address}`));
	await assertNothingRuns(pair);
});

test("invariant 7: both servers as mirror, both live: refused", async () => {
	await using pair = await createPair({ ...quickly });
	const { a, b } = pair;
	await b.startZimbra();
	assert.match(await refused(b, "is-live"), /both serve mail/);
	await b.stopZimbra();
	const loop = b.spawnLiveSyncd("loop", "redo");
	await until("it runs", async () => (await b.liveSyncd("status")).code === 1);
	assert.match(await refused(a, "both-mirrors"), /can not run on both/);
	loop.kill("SIGTERM");
	await new Promise((resolve) => loop.once("exit", resolve));
});

test("beside a live_syncd of 2011 on the same server: refused", async () => {
	await using pair = await createPair({ ...quickly });
	const { b } = pair;
	mkdirSync(b.path("live_sync/old"));
	writeFileSync(b.path("live_sync/old/live_syncd"), "sleep 60; :\n");
	const old = spawn("bash", [b.path("live_sync/old/live_syncd"), "start"], { detached: true });
	assert.match(await refused(b, "both-mirrors"), new RegExp(`2011 runs.* process ${old.pid}\\b`));
	process.kill(-(old.pid ?? 0), "SIGKILL");
	await liveSyncd(b, "start");
	await liveSyncd(b, "kill");
});

test("wrong host key, no host key, wrong key: refused, with the command that mends it", async () => {
	await using pair = await createPair({ ...quickly });
	const { a, b } = pair;
	const knownHosts = b.path("live_sync/known_hosts");
	const right = readFileSync(knownHosts, "utf8");
	const other = makeKey(`${b.directory}/other`, "other");
	writeFileSync(knownHosts, `[${a.address}]:${a.sshd.port} ${other}\n`);
	assert.match(await refused(b, "host-key"), /ssh-keygen -R/);
	rmSync(knownHosts);
	const scan = `ssh-keyscan -t ed25519 -p ${a.sshd.port} ${a.address} >>`;
	assert.ok((await refused(b, "host-key")).includes(scan));
	writeFileSync(knownHosts, right);
	const key = b.path(".ssh/live_sync");
	renameSync(key, `${key}.right`);
	assert.match(await refused(b, "no-ssh-key"), /ssh-keygen -t ed25519/);
	renameSync(`${b.directory}/other`, key);
	assert.match(await refused(b, "key-refused"), /authorized_keys needs/);
});

test("without an initial copy, or with an unclean one, start says what to do", async () => {
	await using pair = await createPair({ ...quickly });
	const { a, b } = pair;
	const log = b.path("redolog/redo.log");
	renameSync(log, `${log}.away`);
	assert.match(await refused(b, "no-initial-copy"), /initial copy/);
	await deliver(pair, 2);
	writeFileSync(log, readFileSync(a.path("redolog/redo.log")));
	assert.match(await refused(b, "unclean-copy"), /its header says that it is open/);
});

test("an installation of several servers: start refuses, and names the other ones", async () => {
	await using pair = await createPair({ ...quickly });
	const { a, b } = pair;
	const file = a.path(accountFile);
	const directory = JSON.parse(readFileSync(file, "utf8")) as AccountFile;
	const others = { "mta.example.net": ["mta"], "mbox2.example.net": ["mailbox", "mta"] };
	writeFileSync(file, JSON.stringify({ ...directory, otherServers: others }));
	const said = await refused(b, "several-servers");
	assert.match(said, /there is mbox2\.example\.net \(mailbox, mta\)/);
	writeFileSync(
		file,
		JSON.stringify({ ...directory, otherServers: { "mta.example.net": ["mta"] } }),
	);
	await liveSyncd(b, "start");
	await deliver(pair, 1);
	await caughtUp(pair);
	await liveSyncd(b, "kill");
});

test("a disk that is all but full: start refuses, names the directory and what a copy of LDAP takes", async (t) => {
	await using pair = await createPair({
		ldap: { writemap: true, entries: 300 },
		...quickly,
		settings: { ...quick, disk_floor: "900T" },
	});
	const { b } = pair;
	const said = await refused(b, "disk-space");
	assert.match(said, /MiB free, a copy of LDAP takes [1-9]\d* MiB and 943718400 MiB must stay/);
	writeFileSync(b.confFile, readFileSync(b.confFile, "utf8").replace("900T", "1M"));
	if (!canMountSmallDisk()) return t.skip("no tmpfs can be mounted in a namespace here");
	await using disk = await SmallDisk.mount(b, "redolog", "300k");
	assert.match(await refused(b, "disk-space"), /zimbra\/redolog: 0 MiB free/);
	await disk.resize("20m");
	await liveSyncd(b, "start");
	await deliver(pair, 2);
	await caughtUp(pair, disk.path);
	await liveSyncd(b, "kill");
	// After a reboot, say: a mirror that has followed before goes on with what room there is.
	await disk.resize("900k");
	const again = await liveSyncd(b, "start");
	assert.match(again, /Warning: .*zimbra\/redolog: [01] MiB free/);
	await deliver(pair, 2);
	await caughtUp(pair, disk.path);
	const told = /warning redo.*redolog: [01] MiB free.*\[disk-space\]/;
	await until("status tells of it", async () => told.test(await liveSyncd(b, "status")));
	await liveSyncd(b, "kill");
});

test("stop with a full disk names the file and what to do; with room again, it replays everything", async (t) => {
	if (!canMountSmallDisk()) return t.skip("no tmpfs can be mounted in a namespace here");
	await using pair = await createPair({ ...quickly, settings: { ...quick, disk_floor: "0" } });
	const { a, b } = pair;
	await using disk = await SmallDisk.mount(b, "live_sync", "20m");
	await liveSyncd(b, "start");
	await deliver(pair, 5);
	await caughtUp(pair);
	await a.crash();
	// So that nobody makes room for a moment by replacing a file.
	await liveSyncd(b, "kill");
	const filler = join(disk.path, "filler");
	assert.throws(() => writeFileSync(filler, Buffer.alloc(30 << 20)), /ENOSPC/);
	const said = await liveSyncd(b, "stop", 1);
	assert.match(
		said,
		/ENOSPC: no space left on device, write '.*live_sync\/.*'\n {2}try: make room/,
	);
	rmSync(filler);
	await liveSyncd(b, "stop");
	assertExecutedOnce(pair);
	await assertNothingRuns(pair);
});

test("position file lost: start refuses rather than skip or repeat", async () => {
	await using pair = await createPair({ ...quickly });
	const { b } = pair;
	const loop = b.spawnLiveSyncd("loop", "redo");
	await deliver(pair, 2);
	await caughtUp(pair);
	loop.kill("SIGTERM");
	await new Promise((resolve) => loop.once("exit", resolve));
	rmSync(b.path("live_sync/status/replayed.json"));
	await refused(b, "position-lost");
});

test("admin starts Zimbra on the mirror without stop: the loops withdraw, mailboxd is untouched", async () => {
	await using pair = await createPair({ ldap: true, ...quickly });
	const { b } = pair;
	await liveSyncd(b, "start");
	await deliver(pair, 5);
	await caughtUp(pair);
	// It may find LDAP in the middle of an exchange, start it beside the loop, and exit with 1 for that.
	await b.run("zmcontrol", "start");
	const mailboxd = b.servicePid("mailboxd");
	assert.ok(mailboxd !== undefined);
	await until("the loops are gone", async () => (await b.liveSyncd("status")).code === 3);
	assert.equal(b.servicePid("mailboxd"), mailboxd);
	const said = (await b.liveSyncd("status")).stdout;
	assert.match(said, /CRITICAL redo.*\[(mailboxd-up|log-altered)\]/);
	const before = redologs(b);
	await deliver(pair, 3, 2);
	assert.deepEqual(redologs(b), before, "nothing more is written");
});

test("a loop that withdraws says why, also where it cannot publish that", async () => {
	await using pair = await createPair({ ...quickly });
	const { b } = pair;
	const loop = b.spawnLiveSyncd("loop", "redo");
	await deliver(pair, 1);
	await caughtUp(pair);
	const published = b.path("live_sync/status/redo.json");
	rmSync(published);
	mkdirSync(published); // as on a full disk: what is renamed to it is refused
	const ended = new Promise((resolve) => loop.once("exit", resolve));
	await b.startZimbra();
	assert.equal(await ended, 1);
	const left = readdirSync(b.path("live_sync/status")).filter((name) => name.endsWith(".tmp"));
	assert.deepEqual(left, []);
	const log = readFileSync(b.path("live_sync/log/live_sync.log"), "utf8");
	assert.match(log, /loop withdraws reason=".*two servers may be live/);
});

test("invariant 6: history of our own is described, and put aside only by the explicit flag", async () => {
	await using pair = await createPair({ ldap: true, ...quickly });
	const { a, b } = pair;
	// As the page of 2011 tells: start Zimbra on the copy, to see that it works. And somebody used it.
	await b.startZimbra();
	await b.mailbox.deliver({ to: [someone] });
	await b.stopZimbra();
	await deliver(pair, 5, 3);
	const said = await refused(b, "divergence");
	assert.match(said, /leaves the live one at 0:512; behind that it has \d operations of its own/);
	assert.match(await liveSyncd(b, "start --set-aside-own-history"), /was put aside in .*done/s);
	await caughtUp(pair);
	await liveSyncd(b, "stop");
	const [aside = ""] = readdirSync(b.path("live_sync/status/aside"));
	const kept = readdirSync(b.path("live_sync/status/aside", aside));
	assert.ok(
		kept.includes("redo.log") && kept.some((name) => name.endsWith("seq0.log")),
		String(kept),
	);
	await deliver(pair, 1);
	assert.ok(a.committed().length > 0);
});

test("invariant 6: putting aside history of our own that was cut short by a crash is finished by the next one", async () => {
	await using pair = await createPair({ ...quickly });
	const { b } = pair;
	await b.startZimbra();
	await b.mailbox.deliver({ to: [someone] });
	await b.stopZimbra();
	await deliver(pair, 5, 3);
	const own = [...redologs(b).values()];
	for (const point of ["before-replacement", "after-replacement"]) {
		b.environment.LIVE_SYNC_FAIL_AT = `set-aside:${point}`;
		const { stdout, stderr } = await b.liveSyncd("start", "--set-aside-own-history");
		assert.equal(stderr, "", stdout);
		delete b.environment.LIVE_SYNC_FAIL_AT;
		await refused(b, "log-altered");
	}
	await liveSyncd(b, "start --set-aside-own-history");
	await caughtUp(pair);
	const kept: Buffer[] = [];
	for (const each of readdirSync(b.path("live_sync/status/aside"))) {
		const directory = b.path("live_sync/status/aside", each);
		kept.push(...readdirSync(directory).map((name) => readFileSync(`${directory}/${name}`)));
	}
	for (const log of own) assert.ok(kept.some((each) => each.equals(log)));
	await liveSyncd(b, "kill");
});

/** Planned change of roles: `from` is stopped cleanly, `to` takes over. */
async function switchOver({ from, to }: { from: Host; to: Host }): Promise<void> {
	await from.stopZimbra();
	// The last word of the old live server is the rollover of its clean stop.
	await until("the mirror has all of it", () => holds(to, from, 512));
	await liveSyncd(to, "stop");
	await to.startZimbra();
}

test("roles there and back again, and there once more: every operation once, the stores equal", async () => {
	await using pair: Pair = await createPair({ ldap: true, ...quickly });
	const { a, b } = pair;
	let [live, mirror] = [a, b];
	for (let turn = 0; turn < 3; turn++) {
		await liveSyncd(mirror, "start");
		for (let i = 0; i < 6; i++) {
			await live.mailbox.deliver({ to: i % 3 === 0 ? [someone, "user2@example.net"] : [someone] });
			if (i === 3) await live.mailbox.rollover();
		}
		await switchOver({ from: live, to: mirror });
		[live, mirror] = [mirror, live];
	}
	await liveSyncd(mirror, "start");
	await live.mailbox.deliver({ to: [someone] });
	await until("the mirror has it", () => holds(mirror, live));
	await liveSyncd(mirror, "stop");
	assert.deepEqual(compareStores(await live.dumpStore(), await mirror.dumpStore()), []);
	for (const host of [a, b]) {
		const counts = new Map<string, number>();
		for (const { transaction } of host.executions()) {
			counts.set(transaction, (counts.get(transaction) ?? 0) + 1);
		}
		const twice = [...counts].filter(([, count]) => count !== 1);
		assert.deepEqual(twice, [], `executed more than once on ${host.name}`);
	}
});

test("stop on a server that has been live since it was a mirror replays nothing of its own history", async () => {
	await using pair = await createPair({ ...quickly });
	const { a, b } = pair;
	await liveSyncd(b, "start");
	await deliver(pair, 2);
	await caughtUp(pair);
	await switchOver({ from: a, to: b });
	await b.mailbox.deliver({ to: [someone] });
	await b.stopZimbra();
	const before = b.executions().length;
	// As it is typed at every failover.
	assert.match(await liveSyncd(b, "stop"), /nothing to replay/);
	assert.equal(b.executions().length, before);
});

test("a start that was cut short before anything was received, then Zimbra ran here: nothing is guessed", async () => {
	await using pair = await createPair({ ...quickly });
	const { a, b } = pair;
	const position = b.path("live_sync/status/replayed.json");
	b.environment.LIVE_SYNC_FAIL_AT = "start:before-loops";
	assert.notEqual((await b.liveSyncd("start")).code, 0);
	delete b.environment.LIVE_SYNC_FAIL_AT;
	assert.ok(existsSync(position));
	assert.match(await liveSyncd(b, "stop"), /nothing to replay/);
	b.environment.LIVE_SYNC_FAIL_AT = "start:before-loops";
	assert.notEqual((await b.liveSyncd("start")).code, 0);
	delete b.environment.LIVE_SYNC_FAIL_AT;
	// The live server dies, and this one takes its place; the old one follows it, and comes back.
	await a.stopZimbra();
	cpSync(a.path("redolog"), b.path("redolog"), { recursive: true });
	await b.startZimbra();
	await b.mailbox.deliver({ to: [someone] });
	await b.stopZimbra();
	assert.match(await liveSyncd(b, "stop", 1), /\[position-lost\]\n {2}try: if Zimbra itself/);
	cpSync(b.path("redolog"), a.path("redolog"), { recursive: true });
	await a.startZimbra();
	await refused(b, "position-lost");
	rmSync(position);
	await liveSyncd(b, "start");
	await a.mailbox.deliver({ to: [someone] });
	await until("the mirror has it", () => holds(b, a));
	await liveSyncd(b, "stop");
	const counts = new Map<string, number>();
	for (const { transaction } of b.executions()) {
		counts.set(transaction, (counts.get(transaction) ?? 0) + 1);
	}
	assert.deepEqual(
		[...counts].filter(([, count]) => count !== 1),
		[],
	);
});

test("a mirror that has lost its provenance replays nothing by guess, and skips nothing", async () => {
	await using pair = await createPair({
		...quickly,
		settings: { ...quick, replay_interval: "1h" },
	});
	const { b } = pair;
	await liveSyncd(b, "start");
	await deliver(pair, 3);
	await caughtUp(pair);
	await liveSyncd(b, "kill");
	rmSync(b.path("redolog/.live_sync"));
	assert.match(
		await liveSyncd(b, "stop", 1),
		/\.live_sync, which tells .* is missing .*\[position-lost\]/,
	);
	await refused(b, "position-lost");
});

test("stop after Zimbra ran on the mirror without it is refused: its own operations are not executed again", async () => {
	await using pair = await createPair({ ...quickly });
	const { b } = pair;
	await liveSyncd(b, "start");
	await deliver(pair, 2);
	await caughtUp(pair);
	killLoops(b);
	await b.startZimbra();
	await b.mailbox.deliver({ to: [someone] });
	await b.stopZimbra();
	const before = b.executions().length;
	assert.match(await liveSyncd(b, "stop", 1), /Zimbra was started here.*\[log-altered\]/s);
	assert.equal(b.executions().length, before);
});
