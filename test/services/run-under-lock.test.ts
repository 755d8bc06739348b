import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { pino } from "pino";
import { type HeldLock, livingChildren, readLockOwner, takeLock } from "../../src/services/lock.ts";
import { processesRunning } from "../../src/services/process-table.ts";
import { identify, isAlive } from "../../src/services/processes.ts";
import { makeRun } from "../../src/services/run.ts";
import { endOrphans, recorded } from "../../src/services/run-under-lock.ts";
import { until } from "../pair/until.ts";

const services = join(import.meta.dirname, "../../src/services");

/** Runs the command under the lock, in a process that dies when it has started it. */
async function dieOver(lock: string, command: readonly string[]): Promise<void> {
	const code = `
		import { writeFileSync } from "node:fs";
		import { takeLock } from ${JSON.stringify(join(services, "lock.ts"))};
		import { makeRun } from ${JSON.stringify(join(services, "run.ts"))};
		import { recorded } from ${JSON.stringify(join(services, "run-under-lock.ts"))};
		const signal = new AbortController().signal;
		const held = await takeLock(${JSON.stringify(lock)}, { purpose: "dying", signal, log: { warn() {} } });
		const run = recorded(makeRun({ path: ["/usr/bin", "/bin"], zimbra_home: "/" }), held);
		// One that has ended before it can be named is not counted.
		const named = ${JSON.stringify(`${lock}.named`)};
		const first = ["sh", "-c", 'until [ -e "$0" ]; do sleep 0.1; done', named];
		await run(first, { timeoutMs: 60_000, onStart: () => writeFileSync(named, "") });
		await run(${JSON.stringify(command)}, { timeoutMs: 60_000 });
	`;
	const holder = spawn(process.execPath, ["--input-type=module", "--eval", code], {
		stdio: "inherit",
		env: { ...process.env, LIVE_SYNC_FAIL_AT: "child:started#2" },
	});
	await once(holder, "close");
	assert.equal(holder.signalCode, "SIGKILL");
}

for (const kind of ["a program", "a script"]) {
	test(`what a holder that was killed had no time to name keeps its lock, and is found: ${kind}`, async () => {
		const directory = mkdtempSync(join(tmpdir(), "run-under-lock-"));
		const lock = join(directory, "live_sync.lock");
		try {
			const script = join(directory, "script");
			writeFileSync(script, `#!/bin/sh\nsleep "$1" & wait\n`);
			chmodSync(script, 0o755);
			// A number that no other process has for a word.
			const duration = `${1000 + process.pid}.${process.hrtime.bigint() % 1_000_000n}`;
			const command = kind === "a script" ? [script, duration] : ["sleep", duration];
			await dieOver(lock, command);

			const owner = await readLockOwner(lock);
			assert.ok(owner !== undefined && !isAlive(owner.process));
			// What is about to be the script's sleep has the script's words for a moment.
			await until("one is found", () => livingChildren(owner).length === 1);
			const options = {
				purpose: "test",
				signal: new AbortController().signal,
				log: pino({ level: "silent" }),
			};
			await assert.rejects(takeLock(lock, { ...options, timeoutMs: 300 }), /held by/);
			const onOrphans = () => endOrphans(lock);
			await using _held = await takeLock(lock, { ...options, timeoutMs: 10_000, onOrphans });
			assert.deepEqual(processesRunning(command), []);
			// Killed with it, and dead as soon as it has the processor.
			await until("its child is gone", () => processesRunning(["sleep", duration]).length === 0);
		} finally {
			rmSync(directory, { recursive: true, force: true });
		}
	});
}

test("without room for its name a command is run all the same, and not for any other failure", async () => {
	const lockThatFails = (code: string): HeldLock => {
		const fail = () => Promise.reject(Object.assign(new Error(code), { code }));
		return { announceChild: fail, addChild: fail, release: fail, [Symbol.asyncDispose]: fail };
	};
	const run = makeRun({ path: ["/usr/bin", "/bin"], zimbra_home: "/" });
	for (const command of [
		["echo", "done"],
		["sh", "-c", "sleep 0.2; echo done"],
	]) {
		const { stdout } = await recorded(run, lockThatFails("ENOSPC"))(command, { timeoutMs: 60_000 });
		assert.equal(stdout, "done\n");
		const other = recorded(run, lockThatFails("ENOENT"))(command, { timeoutMs: 60_000 });
		await assert.rejects(other, /ENOENT/);
	}
});

test("a lock whose holder died in the moment of a start is not free before that process bears its name", async () => {
	const directory = mkdtempSync(join(tmpdir(), "run-under-lock-"));
	const lock = join(directory, "live_sync.lock");
	const duration = `${1000 + process.pid}.${process.hrtime.bigint() % 1_000_000n}`;
	const dead = spawn("sleep", ["60"], { stdio: "ignore" });
	const holder = identify(dead.pid ?? 0);
	dead.kill("SIGKILL");
	await once(dead, "close");
	mkdirSync(lock);
	const owner = { process: holder, children: [], announced: ["sleep", duration], since: 0 };
	writeFileSync(`${lock}.owner`, JSON.stringify({ ...owner, purpose: "dying" }));
	const { signal } = new AbortController();
	const log = pino({ level: "silent" });
	const taking = takeLock(lock, { purpose: "test", signal, log, timeoutMs: 2000 });
	const refused = assert.rejects(taking, /held by/);
	await sleep(100);
	const child = spawn("sleep", [duration], { stdio: "ignore" });
	try {
		await refused;
	} finally {
		child.kill("SIGKILL");
		rmSync(directory, { recursive: true, force: true });
	}
});
