import assert from "node:assert/strict";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { pino } from "pino";
import { makeDirectories } from "../../../src/programs/live-syncd/setting-up.ts";
import { loadConfig } from "../../../src/services/config.ts";
import { type HeldLock, takeLock } from "../../../src/services/lock.ts";
import type { Host } from "../../pair/host.ts";
import type { Pair } from "../../pair/pair.ts";
import {
	Directory,
	installedCopy,
	ldapPair,
	placeOf,
	type RunningLoop,
	readLog,
	readState,
	startFollowing,
	startLoop,
	waitFor,
} from "./support.ts";

/** A loop whose copy of a new account is whole and waits: this test holds the lock, as a replay run does. */
async function waitingCopy({
	a,
	b,
}: Pair): Promise<{ loop: RunningLoop; lock: HeldLock; id: string }> {
	const loop = await startFollowing(b);
	const before = installedCopy(b)?.id;
	const lock = await hold(b);
	await new Directory(a).addAccount("late");
	const id = await waitFor("a copy that waits", b, () => {
		const state = readState(b);
		return state?.phase === "waiting" && state.staged?.id !== before && state.staged?.id;
	});
	return { loop, lock, id };
}

async function hold(host: Host): Promise<HeldLock> {
	const config = await loadConfig(host.confFile);
	await makeDirectories(config);
	const { signal } = new AbortController();
	return await takeLock(config.base.lock, {
		purpose: "test",
		signal,
		log: pino({ level: "silent" }),
	});
}

const isInUse = async (host: Host, id: string): Promise<boolean> =>
	installedCopy(host)?.id === id && (await new Directory(host).hasAccount("late")) === true;

test("a copy that waits for a replay run is used though the live server dies meanwhile", async () => {
	await using pair = await ldapPair({ settings: { heartbeat_interval: "300ms" } });
	const { a, b } = pair;
	const { loop, lock, id } = await waitingCopy(pair);
	await a.crash();
	await sleep(2000);
	assert.notEqual(installedCopy(b)?.id, id, "it still waits");
	await lock.release();
	await waitFor("the copy", b, () => isInUse(b, id));
	await waitFor("the dead server to be noticed", b, () => (readState(b)?.problems.length ?? 0) > 0);
	await loop.stop();
});

test("a copy that waits is used before a loop that shall stop has ended", async () => {
	await using pair = await ldapPair();
	const { a, b } = pair;
	const { loop, lock, id } = await waitingCopy(pair);
	await a.crash();
	writeFileSync(b.path("live_sync/status/live_sync.stop"), "");
	await sleep(1500);
	assert.equal(loop.child.exitCode, null, "it waits for the run");
	await lock.release();
	assert.equal(await loop.ended, 0);
	assert.equal(await isInUse(b, id), true);
});

test("a copy that waits when its loop is killed is used by live-syncd stop, though the live server is dead", async () => {
	await using pair = await ldapPair();
	const { a, b } = pair;
	const { loop, lock, id } = await waitingCopy(pair);
	loop.child.kill("SIGKILL");
	await loop.ended;
	await a.crash();
	await lock.release();
	await b.liveSyncd("stop");
	assert.equal(await isInUse(b, id), true);
	assert.equal(existsSync(placeOf(b, "next")), false);
});

test("a copy that waits is not lost to a start that then cannot follow LDAP", async () => {
	await using pair = await ldapPair();
	const { a, b } = pair;
	const { loop, lock, id } = await waitingCopy(pair);
	loop.child.kill("SIGKILL");
	await loop.ended;
	await lock.release();
	const role = { version: 1, role: "mirror", timeline: 1, since: Date.now() };
	writeFileSync(b.path("live_sync/status/role.json"), JSON.stringify(role));
	writeFileSync(a.path("bin/mdb_copy"), "#!/bin/sh\nexit 28\n", { mode: 0o755 });
	const { code, stderr } = await b.liveSyncd("start");
	assert.equal(code, 1);
	assert.match(stderr, /\[ldap-path\]/);
	assert.equal(await isInUse(b, id), true);
});

test("a copy that waits is not put over a directory that was written to here", async () => {
	await using pair = await ldapPair();
	const { a, b } = pair;
	const { loop, lock, id } = await waitingCopy(pair);
	loop.child.kill("SIGKILL");
	await loop.ended;
	await a.crash();
	await lock.release();
	await new Directory(b).addAccount("of-this-server");
	await b.liveSyncd("stop");
	assert.notEqual(installedCopy(b)?.id, id);
	assert.equal(await new Directory(b).hasAccount("of-this-server"), true);
});

test("what a power loss has left of a snapshot goes when the server becomes a mirror", async () => {
	await using pair = await ldapPair();
	const { b } = pair;
	for (const each of ["snapshot", "snapshot.new", "snapshot.old"]) {
		mkdirSync(placeOf(b, each, "mdb"), { recursive: true });
	}
	await using _loop = startLoop(b);
	await waitFor("the snapshots' end", b, () =>
		["snapshot", "snapshot.new", "snapshot.old"].every((each) => !existsSync(placeOf(b, each))),
	);
	assert.doesNotMatch(readLog(b), /error/);
});
