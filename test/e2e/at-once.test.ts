import assert from "node:assert/strict";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { test } from "node:test";
import { createPair } from "../pair/pair.ts";
import { until } from "../pair/until.ts";
import {
	assertNothingRuns,
	begin,
	caughtUp,
	deliver,
	liveSyncd,
	loops,
	plays,
	quick,
	quickly,
} from "./support.ts";

test("the foreground told to end in its first moments leaves no loop behind", async () => {
	await using pair = await createPair({ ...quickly });
	const { b } = pair;
	for (const moment of ["command.lock", "pid/redo_log_live_sync.pid", "status/redo.json"]) {
		const child = b.spawnLiveSyncd();
		const ended = new Promise((resolve) => child.once("exit", resolve));
		const file = b.path("live_sync", moment === "command.lock" ? `lock/${moment}` : moment);
		const last = b.path("live_sync/status/redo.json");
		rmSync(last, { force: true });
		// The command's lock may have come and gone between two looks.
		await until(moment, () => existsSync(file) || existsSync(last));
		child.kill("SIGTERM");
		await ended;
		await assertNothingRuns(pair);
	}
	await liveSyncd(b, "start");
	await liveSyncd(b, "kill");
});

test("two starts at once on one server: one of them starts the loops, the other says who is at it", async () => {
	await using pair = await createPair({ ldap: true, ...quickly });
	const { b } = pair;
	const ends = await Promise.all([b.liveSyncd("start"), b.liveSyncd("start")]);
	assert.deepEqual([loops(b, "redo").length, loops(b, "ldap").length], [1, 1]);
	for (const { code, stdout, stderr } of ends) {
		if (code === 0) assert.match(stdout, /\.\.\.done|already running/);
		else assert.match(stderr, /live-syncd is at work here already: process \d+ \(start\)/);
	}
	assert.ok(ends.some(({ stdout }) => stdout.includes("...done")));
	assert.equal((await b.liveSyncd("status")).code, 0);
	await liveSyncd(b, "stop");
	await assertNothingRuns(pair);
});

test("start while stop replays is refused: it would follow again what the admin is about to replace", async () => {
	await using pair = await createPair({
		ldap: true,
		...quickly,
		settings: { ...quick, replay_interval: "1h" },
	});
	const { b } = pair;
	await liveSyncd(b, "start");
	await deliver(pair, 3);
	await caughtUp(pair);
	b.replayFaults({ hang: true });
	const stop = b.liveSyncd("stop");
	await until("it replays", () => plays(b));
	assert.match(await liveSyncd(b, "start", 1), /at work here already: process \d+ \(stop\)/);
	await liveSyncd(b, "kill");
	assert.notEqual((await stop).code, 0, "kill has ended stop too");
	await assertNothingRuns(pair);
});

test("kill and stop while start asks a server that does not answer: kill ends it, stop waits for its end", async () => {
	await using pair = await createPair({
		proxy: true,
		...quickly,
		// Longer than the test needs: it is for the test to end the silence.
		settings: { ...quick, connect_timeout: "5m" },
	});
	const { b, links } = pair;
	const hasItsTurn = () => existsSync(b.path("live_sync/lock/command.lock"));
	links.toA.blackHole();
	const first = b.liveSyncd("start");
	await until("it has its turn", hasItsTurn);
	await until("the other server could see it", async () =>
		(await b.syncCommands("test")).stdout.includes("busy"),
	);
	await liveSyncd(b, "kill");
	assert.notEqual((await first).code, 0);
	assert.equal(b.strayProcesses().length, 0);
	const second = b.liveSyncd("start");
	await until("it has its turn", hasItsTurn);
	const stop = begin(b, "stop");
	await until("stop waits for it", () => /Waiting for process \d+ \(start\)/.test(stop.said()));
	links.toA.refuse();
	assert.equal((await second).code, 1);
	assert.equal(await stop.ended, 0);
	assert.equal(b.strayProcesses().length, 0);
});

test("start killed when it has started the loops and not named them: nobody misses them", async () => {
	await using pair = await createPair({ ldap: true, ...quickly });
	const { b } = pair;
	const killedStart = async () => {
		b.environment.LIVE_SYNC_FAIL_AT = "start:before-pid-files";
		assert.notEqual((await b.liveSyncd("start")).code, 0);
		delete b.environment.LIVE_SYNC_FAIL_AT;
	};
	await killedStart();
	await liveSyncd(b, "kill");
	await assertNothingRuns(pair);
	await killedStart();
	await liveSyncd(b, "start");
	await until("both loops run", async () => (await b.liveSyncd("status")).code === 0);
	assert.deepEqual([loops(b, "redo").length, loops(b, "ldap").length], [1, 1]);
	await liveSyncd(b, "kill");
	await killedStart();
	await liveSyncd(b, "stop");
	await assertNothingRuns(pair);
	assert.equal(existsSync(b.path("live_sync/status/live_sync.stop")), false);
});

test("a start in the middle of kill is refused: its loops would be ended by half, and lose their pid files", async () => {
	await using pair = await createPair({ ldap: true, ...quickly });
	const { b } = pair;
	const owner = b.path("live_sync/lock/command.lock.owner");
	const hasItsTurn = () => existsSync(owner) && readFileSync(owner, "utf8").includes('"kill"');
	/** Undefined where it had ended already. */
	const stoppedInTheMiddle = async () => {
		await liveSyncd(b, "start");
		const kill = begin(b, "kill");
		await until("it has its turn", () => hasItsTurn() || kill.child.exitCode !== null);
		kill.child.kill("SIGSTOP");
		if (hasItsTurn()) return kill;
		kill.child.kill("SIGCONT");
		assert.equal(await kill.ended, 0);
		return undefined;
	};
	let kill: Awaited<ReturnType<typeof stoppedInTheMiddle>>;
	for (let i = 0; i < 10 && kill === undefined; i++) kill = await stoppedInTheMiddle();
	assert.ok(kill, "it was stopped in the middle");
	const { code, stdout, stderr } = await b.liveSyncd("start");
	kill.child.kill("SIGCONT");
	assert.equal(await kill.ended, 0);
	assert.equal(code, 1, stdout);
	assert.match(stderr, /at work here already: process \d+ \(kill\)/);
	await assertNothingRuns(pair);
	assert.equal(existsSync(b.path("live_sync/lock/command.lock")), false);
});
