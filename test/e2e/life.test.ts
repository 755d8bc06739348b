import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { createPair } from "../pair/pair.ts";
import { signal } from "../pair/processes.ts";
import { compareStores } from "../pair/store-dump.ts";
import { until } from "../pair/until.ts";
import {
	assertExecutedOnce,
	assertNothingRuns,
	caughtUp,
	deliver,
	killLoop,
	killLoops,
	liveSyncd,
	noticed,
	plays,
	quick,
	quickly,
	redoState,
	replayed,
	tail,
} from "./support.ts";

test("start, status, start again, stop in the middle of a log, start again, stop: nothing lost, nothing twice, nothing left running", async () => {
	await using pair = await createPair({ ldap: true, ...quickly });
	const { a, b } = pair;
	assert.match(await liveSyncd(b, "status", 3), /redolog sync process stopped/);
	assert.match(await liveSyncd(b, "start"), /Starting processes\.\.\.done/);
	assert.match(await liveSyncd(b, "status"), /redo log sync process OK\nldap sync process OK/);
	assert.match(await liveSyncd(b, "start"), /already running/);
	// The runbooks have a person list the one and move things to the other.
	for (const name of ["failed", "aside"]) {
		assert.deepEqual(readdirSync(b.path("live_sync/status", name)), []);
	}

	await deliver(pair, 20, 7);
	await caughtUp(pair);
	await until("hot replay", async () => {
		const state = await redoState(b);
		return state?.replayed !== undefined && state.replayed.sequence === state.flushed?.sequence;
	});
	await deliver(pair, 5);
	await liveSyncd(b, "stop");
	await assertNothingRuns(pair);
	assert.match(await liveSyncd(b, "status", 3), /ldap sync process stopped/);

	await deliver(pair, 10, 4);
	await liveSyncd(b, "start");
	await caughtUp(pair);
	await deliver(pair, 3);
	await caughtUp(pair);
	await liveSyncd(b, "stop");
	await assertNothingRuns(pair);
	assertExecutedOnce(pair);
	assert.deepEqual(compareStores(await a.dumpStore(), await b.dumpStore()), []);
});

test("the mirror process killed with SIGKILL at arbitrary moments: start simply goes on, invariants 1 and 4 hold", async () => {
	await using pair = await createPair({ ldap: true, ...quickly });
	const { a, b } = pair;
	let writing = true;
	const writer = (async () => {
		while (writing) await deliver(pair, 10, 9);
	})();
	for (let i = 0; i < 5; i++) {
		await liveSyncd(b, "start");
		await sleep(400 + i * 330);
		killLoops(b);
	}
	writing = false;
	await writer;
	await liveSyncd(b, "start");
	await caughtUp(pair);
	await liveSyncd(b, "stop");
	await assertNothingRuns(pair);
	assertExecutedOnce(pair);
	assert.deepEqual(compareStores(await a.dumpStore(), await b.dumpStore()), []);
});

for (const moment of ["live_sync.lock:made", "live_sync.lock:before-removal"]) {
	test(`a loop killed at ${moment}, the lock directory standing there: start goes on, replay and LDAP too`, async () => {
		await using pair = await createPair({ ldap: true, ...quickly });
		const { a, b } = pair;
		b.environment.LIVE_SYNC_FAIL_AT = moment;
		await liveSyncd(b, "start");
		await deliver(pair, 5);
		await a.createAccount("new@example.net");
		await until("one has died", async () => (await b.liveSyncd("status")).code !== 0);
		killLoops(b);
		delete b.environment.LIVE_SYNC_FAIL_AT;
		assert.ok(existsSync(b.path("live_sync/lock/live_sync.lock")));
		await liveSyncd(b, "start");
		await a.mailbox.deliver({ to: ["new@example.net"] });
		await replayed(pair);
		await liveSyncd(b, "stop");
		assertExecutedOnce(pair);
	});
}

test("the redo loop killed before it could name its zmplayredo: LDAP is not exchanged beside that", async () => {
	await using pair = await createPair({ ldap: true, ...quickly });
	const { a, b } = pair;
	const players = () => b.processes().filter(({ command }) => /zmplayredo/.test(command));
	const copy = async () => JSON.parse((await b.liveSyncd("status", "--json")).stdout).ldap.state;
	b.environment.LIVE_SYNC_FAIL_AT = "replay:started";
	b.replayFaults({ hang: true });
	await liveSyncd(b, "start");
	await deliver(pair, 3);
	await until("the redo loop is gone", async () => (await b.liveSyncd("status")).code === 1);
	const before = (await copy()).installed?.id;
	await a.createAccount("new@example.net");
	await until("the new copy is ready", async () => (await copy()).phase === "waiting");
	await sleep(3000);
	assert.ok(players().length > 0, "zmplayredo is still there");
	assert.equal((await copy()).installed?.id, before, "the exchange waits for it");
	for (const { pid } of players()) signal(pid, "SIGKILL");
	await until("the new copy is in use", async () => (await copy()).installed?.id !== before);
	delete b.environment.LIVE_SYNC_FAIL_AT;
	b.replayFaults({});
	await liveSyncd(b, "start");
	await replayed(pair);
	await liveSyncd(b, "stop");
	assertExecutedOnce(pair);
});

test("kill ends everything at once, with its children, and leaves no lock and no pid file", async () => {
	await using pair = await createPair({ ldap: true, ...quickly });
	const { b } = pair;
	await liveSyncd(b, "start");
	b.replayFaults({ hang: true });
	await deliver(pair, 10);
	await until("a replay run", () => plays(b));
	await liveSyncd(b, "kill");
	await assertNothingRuns(pair);
	assert.deepEqual(readdirSync(b.path("live_sync/lock")), []);
	assert.deepEqual(readdirSync(b.path("live_sync/pid")), []);
	b.replayFaults({});
	await liveSyncd(b, "start");
	await caughtUp(pair);
	await liveSyncd(b, "kill");
	await liveSyncd(b, "kill");
});

test("one loop killed: status says so with exit code 1, and stop still replays", async () => {
	await using pair = await createPair({ ldap: true, ...quickly });
	const { b } = pair;
	await liveSyncd(b, "start");
	killLoop(b, "ldap");
	await until("it is gone", async () => (await b.liveSyncd("status")).code === 1);
	await deliver(pair, 5);
	await caughtUp(pair);
	await liveSyncd(b, "stop");
	await assertNothingRuns(pair);
	assertExecutedOnce(pair);
});

test("without a command both loops run in the foreground, log to the terminal, and end with it", async () => {
	await using pair = await createPair({ ldap: true, ...quickly });
	const child = pair.b.spawnLiveSyncd();
	let said = "";
	child.stdout?.on("data", (text) => {
		said += text;
	});
	child.stderr?.on("data", (text) => {
		said += text;
	});
	await deliver(pair, 5);
	await caughtUp(pair);
	assert.equal((await pair.b.liveSyncd("status")).code, 0);
	const code = new Promise((resolve) => child.once("exit", resolve));
	child.kill("SIGTERM");
	assert.equal(await code, 0, said);
	assert.match(said, /redo: streaming/);
	assert.match(said, /ldap: loop starts/);
	await assertNothingRuns(pair);
});

for (const [what, harm] of [
	["dead", (pair: Awaited<ReturnType<typeof createPair>>) => pair.a.crash()],
	["hanging", (pair: Awaited<ReturnType<typeof createPair>>) => pair.a.freeze()],
	["black-holed", (pair: Awaited<ReturnType<typeof createPair>>) => pair.links.toA.blackHole()],
] as const) {
	test(`with the live server ${what}, status, stop and kill work, and stop replays all that came`, async () => {
		const settings = { ...quick, ...noticed };
		await using pair = await createPair({ ldap: true, proxy: true, ...quickly, settings });
		const { a, b } = pair;
		await liveSyncd(b, "start");
		await deliver(pair, 12, 5);
		await caughtUp(pair);
		await harm(pair);
		assert.equal((await b.liveSyncd("status")).code, 0, tail(b));
		await liveSyncd(b, "stop");
		await liveSyncd(b, "kill");
		assert.deepEqual(
			b.strayProcesses().map(({ command }) => command),
			[],
		);
		if (what === "hanging") a.thaw();
		assertExecutedOnce(pair);
	});
}

test("the log is appended to, so that logrotate's copytruncate loses nothing that follows", async () => {
	await using pair = await createPair({ ...quickly });
	const { b } = pair;
	const loop = b.spawnLiveSyncd("loop", "redo");
	await deliver(pair, 3);
	await caughtUp(pair);
	const file = b.path("live_sync/log/live_sync.log");
	assert.ok(existsSync(file));
	const { truncateSync } = await import("node:fs");
	truncateSync(file, 0);
	await pair.a.mailbox.rollover();
	await caughtUp(pair);
	await until("a new line", () => readFileSync(file, "utf8").includes("archive complete"));
	assert.equal(readFileSync(file, "utf8").includes("\0"), false, "no hole before the new lines");
	loop.kill("SIGTERM");
	await new Promise((resolve) => loop.once("exit", resolve));
});
