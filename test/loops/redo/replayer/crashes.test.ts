import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { readLockOwner } from "../../../../src/services/lock.ts";
import { isAlive } from "../../../../src/services/processes.ts";
import { readRunRecord, writeRunRecord } from "../../../../src/services/zimbra/run-record.ts";
import { endPlayer, playerProcesses } from "../../../../src/services/zimbra/zmplayredo.ts";
import { until } from "../../../pair/until.ts";
import { type Mirror, makeMirror, replayedAt, users } from "./mirror.ts";

const [user1, user2] = users;
const { signal } = new AbortController();
const everything = { upTo: "everything", signal } as const;

async function history({ pair: { a } }: Mirror): Promise<void> {
	const [, first] = await a.mailbox.deliver({ to: [user1] });
	await a.mailbox.copy(user1, [first?.item ?? 0], 3);
	await a.mailbox.deliver({ to: users });
	await a.mailbox.markFolderRead(user2, 2);
}

function replayInAnotherProcess({ pair: { b } }: Mirror): ChildProcess {
	const script = join(import.meta.dirname, "replay-process.ts");
	return spawn(process.execPath, [script, b.confFile], { env: b.environment, stdio: "inherit" });
}

/** The token of the run that zmplayredo is at work for. */
async function working(mirror: Mirror): Promise<string> {
	await until("zmplayredo works", () => mirror.pair.b.executions().length > 1);
	const record = await readRunRecord(mirror.config);
	return record?.token ?? "";
}

/** A loop that is killed while its zmplayredo, which waits until told otherwise, is at work; gives the token of that run. */
async function killedAtWork(mirror: Mirror): Promise<string> {
	await history(mirror);
	mirror.ship();
	mirror.pair.b.replayFaults({ waitAfter: 2 });
	const loop = replayInAnotherProcess(mirror);
	const token = await working(mirror);
	loop.kill("SIGKILL");
	await until("the loop is gone", () => loop.exitCode !== null || loop.signalCode !== null);
	return token;
}

test("row 'redo loop killed during a replay run': no second run beside it; once it has ended well, nothing is executed twice", async () => {
	await using mirror = await makeMirror();
	const { b } = mirror.pair;
	const token = await killedAtWork(mirror);
	assert.ok(playerProcesses(token).length > 0, "the JVM goes on");
	const owner = await readLockOwner(mirror.config.base.lock);
	assert.ok(owner?.children.some(isAlive), "and holds the lock: no LDAP swap beside it");

	const replaying = mirror.replayer.replayEverything(signal);
	await sleep(300);
	const players = new Set(b.executions().map(({ by }) => by));
	b.replayFaults({});
	assert.equal((await replaying).kind, "up to date");
	assert.deepEqual(new Set(b.executions().map(({ by }) => by)), players, "no second run");
	assert.deepEqual(mirror.notOnce(), []);
	assert.deepEqual(await mirror.differences(), []);
	assert.equal(mirror.replayer.state.operationsAtRisk, 0);
});

test("row 'redo loop killed during a replay run', and its JVM too: at risk named, run once more", async () => {
	await using mirror = await makeMirror();
	const { b } = mirror.pair;
	const token = await killedAtWork(mirror);
	await endPlayer({ token, processes: [] });
	b.replayFaults({});
	const start = await replayedAt(mirror);
	const first = await mirror.replayer.replay(everything);
	assert.equal(first.kind, "re-run");
	assert.ok(mirror.replayer.state.operationsAtRisk > 0);
	assert.deepEqual(await replayedAt(mirror), start);
	assert.equal((await mirror.replayer.replayEverything(signal)).kind, "up to date");
});

test("invariant 4: a loop killed at any moment around a run never leaves a gap, or an execution that is not named", async () => {
	await using mirror = await makeMirror();
	const { a, b } = mirror.pair;
	let risked = 0;
	for (let round = 0; round < 8; round++) {
		await a.mailbox.deliver({ to: [user1] });
		await a.mailbox.deliver({ to: users, ...(round === 4 && { rolloverBefore: 2 }) });
		mirror.ship();
		const loop = replayInAnotherProcess(mirror);
		await sleep(150 * (round + 1));
		loop.kill("SIGKILL");
		await until("the loop is gone", () => loop.exitCode !== null || loop.signalCode !== null);
		assert.equal((await mirror.another().replayEverything(signal)).kind, "up to date");
		risked = mirror.states.at(-1)?.operationsAtRisk ?? 0;
	}
	assert.deepEqual(await mirror.differences(), []);
	assert.deepEqual(await replayedAt(mirror), await a.mailbox.position());
	if (risked === 0) assert.deepEqual(mirror.notOnce(), []);
	assert.ok(b.executions().length > 0);
});

test("after a power loss during a run its evidence counts for nothing: run once more", async () => {
	await using mirror = await makeMirror();
	const { b } = mirror.pair;
	await history(mirror);
	mirror.ship();
	b.replayFaults({ dieAfter: 3 });
	await mirror.replayer.replay(everything);
	// The same record as a reset machine would find it: of an earlier boot, still "running".
	const record = await readRunRecord(mirror.config);
	assert.equal(record?.unknownEnds, 1);
	if (record !== undefined) {
		const earlier = { ...record, phase: "running", bootId: "another", unknownEnds: 0 } as const;
		await writeRunRecord(mirror.config, earlier);
	}
	b.replayFaults({});
	const result = await mirror.another().replay(everything);
	assert.equal(result.kind, "re-run");
	assert.match(result.kind === "re-run" ? result.why : "", /restarted/);
	assert.ok(readFileSync(mirror.config.base.replayRun, "utf8").includes('"unknownEnds": 1'));
});

test("a run whose loop is dead is waited for, also where its lock was removed by hand", async () => {
	await using mirror = await makeMirror();
	const { b } = mirror.pair;
	await history(mirror);
	mirror.ship();
	b.replayFaults({ waitAfter: 2 });
	const loop = replayInAnotherProcess(mirror);
	await working(mirror);
	loop.kill("SIGKILL");
	await until("the loop is gone", () => loop.exitCode !== null || loop.signalCode !== null);
	rmSync(mirror.config.base.lock, { recursive: true });
	rmSync(`${mirror.config.base.lock}.owner`);
	const replaying = mirror.replayer.replayEverything(signal);
	await until("it waits", () => mirror.logged.some(({ msg }) => /waiting for its end/.test(msg)));
	b.replayFaults({});
	assert.equal((await replaying).kind, "up to date");
	assert.equal(new Set(b.executions().map(({ by }) => by)).size, 1, "one zmplayredo, once");
	assert.deepEqual(mirror.notOnce(), []);
});

test("a loop killed in the moment in which it starts zmplayredo: the run is on record already, and not made again", async () => {
	await using mirror = await makeMirror();
	const { b } = mirror.pair;
	await history(mirror);
	mirror.ship();
	b.environment.LIVE_SYNC_FAIL_AT = "replay:started";
	const loop = replayInAnotherProcess(mirror);
	delete b.environment.LIVE_SYNC_FAIL_AT;
	await until("the loop is gone", () => loop.signalCode !== null);
	const [token] = readdirSync(mirror.config.base.slices);
	assert.equal((await readRunRecord(mirror.config))?.token, token);
	assert.equal((await mirror.replayer.replayEverything(signal)).kind, "up to date");
	assert.equal(new Set(b.executions().map(({ by }) => by)).size, 1, "one zmplayredo, once");
	assert.deepEqual(mirror.notOnce(), []);
});

test("a run whose loop is dead, and that hangs: it is ended after replay_timeout, its operations are named, and replay goes on", async () => {
	await using mirror = await makeMirror();
	const { b } = mirror.pair;
	await history(mirror);
	mirror.ship();
	b.replayFaults({ hangAfter: 2 });
	const loop = replayInAnotherProcess(mirror);
	await working(mirror);
	loop.kill("SIGKILL");
	b.replayFaults({});
	const first = await mirror.another({ replay_timeout: 2000 }).replay(everything);
	assert.equal(first.kind, "re-run");
	assert.ok(mirror.waits.some((holder) => /whose loop has died/.test(holder ?? "")));
	assert.ok((mirror.states.at(-1)?.operationsAtRisk ?? 0) > 0);
	assert.equal((await mirror.replayer.replayEverything(signal)).kind, "up to date");
});
