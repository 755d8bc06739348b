import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { pino } from "pino";
import { livingChildren, readLockOwner, takeLock } from "../../src/services/lock.ts";
import { processesRunning } from "../../src/services/process-table.ts";
import { identify, isAlive } from "../../src/services/processes.ts";
import { endOrphans } from "../../src/services/run-under-lock.ts";

const services = join(import.meta.dirname, "../../src/services");

/** Runs the command under the lock, in a process that dies when it has started it. */
async function dieOver(lock: string, command: readonly string[]): Promise<void> {
	const code = `
		import { takeLock } from ${JSON.stringify(join(services, "lock.ts"))};
		import { makeRun } from ${JSON.stringify(join(services, "run.ts"))};
		import { recorded } from ${JSON.stringify(join(services, "run-under-lock.ts"))};
		const signal = new AbortController().signal;
		const held = await takeLock(${JSON.stringify(lock)}, { purpose: "dying", signal, log: { warn() {} } });
		const run = recorded(makeRun({ path: ["/usr/bin", "/bin"], zimbra_home: "/" }), held);
		await run(["sleep", "0.2"], { timeoutMs: 60_000 });
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
			assert.equal(livingChildren(owner).length, 1);
			const options = {
				purpose: "test",
				signal: new AbortController().signal,
				log: pino({ level: "silent" }),
			};
			await assert.rejects(takeLock(lock, { ...options, timeoutMs: 300 }), /held by/);
			const onOrphans = () => endOrphans(lock);
			await using _held = await takeLock(lock, { ...options, timeoutMs: 10_000, onOrphans });
			assert.deepEqual(processesRunning(command), []);
			assert.deepEqual(processesRunning(["sleep", duration]), []);
		} finally {
			rmSync(directory, { recursive: true, force: true });
		}
	});
}

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
