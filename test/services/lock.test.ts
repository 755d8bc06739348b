import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import {
	existsSync,
	mkdirSync,
	mkdtempSync,
	readdirSync,
	readFileSync,
	renameSync,
	rmdirSync,
	rmSync,
	utimesSync,
	writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { pino } from "pino";
import { type LockOptions, readLockOwner, takeLock } from "../../src/services/lock.ts";
import { identify } from "../../src/services/processes.ts";

const log = pino({ level: "silent" });
const options = (more: Partial<LockOptions> = {}): LockOptions => ({
	purpose: "test",
	signal: new AbortController().signal,
	log,
	...more,
});

function place(): { lock: string } & Disposable {
	const directory = mkdtempSync(join(tmpdir(), "lock-"));
	return {
		lock: join(directory, "live_sync.lock"),
		[Symbol.dispose]: () => rmSync(directory, { recursive: true }),
	};
}

/** Takes and releases the lock in a process of its own that dies on the way, as by kill -9. */
async function dieAt(point: string, lock: string, withChild = false): Promise<number | undefined> {
	const code = `
		import { spawn } from "node:child_process";
		import { takeLock } from ${JSON.stringify(join(import.meta.dirname, "../../src/services/lock.ts"))};
		import { identify } from ${JSON.stringify(join(import.meta.dirname, "../../src/services/processes.ts"))};
		const log = { warn() {} };
		const held = await takeLock(${JSON.stringify(lock)}, { purpose: "dying", signal: new AbortController().signal, log });
		let child;
		if (${withChild}) {
			child = spawn("sleep", ["60"], { detached: true, stdio: "ignore" });
			await held.addChild(identify(child.pid));
		}
		if (${point !== "holding"}) await held.release();
		process.stdout.write(String(child?.pid ?? 0), () => process.kill(process.pid, "SIGKILL"));
	`;
	const process_ = spawn(process.execPath, ["--input-type=module", "--eval", code], {
		stdio: ["ignore", "pipe", "inherit"],
		env: { ...process.env, LIVE_SYNC_FAIL_AT: point },
	});
	let out = "";
	process_.stdout.on("data", (text) => {
		out += text;
	});
	await new Promise((resolve) => process_.once("close", resolve));
	return Number(out) || undefined;
}

test("the lock is a directory made with mkdir, empty, with its owner recorded beside it", async () => {
	using at = place();
	const held = await takeLock(at.lock, options({ purpose: "replay" }));
	assert.deepEqual(readdirSync(at.lock), []);
	const owner = await readLockOwner(at.lock);
	assert.equal(owner?.process.pid, process.pid);
	assert.equal(owner?.purpose, "replay");
	await held.release();
	await held.release();
	assert.equal(existsSync(at.lock), false);
});

test("a lock that is held is waited for, and the wait ends by the signal or the deadline", async () => {
	using at = place();
	const held = await takeLock(at.lock, options());
	const waiting = new AbortController();
	const second = takeLock(at.lock, options({ signal: waiting.signal }));
	waiting.abort(new Error("no more"));
	await assert.rejects(second);
	await assert.rejects(takeLock(at.lock, options({ timeoutMs: 1 })), /held by process .* \(test\)/);
	const third = takeLock(at.lock, options());
	await held.release();
	await (await third).release();
});

test("a lock whose holder was killed is taken over", async () => {
	using at = place();
	await dieAt("holding", at.lock);
	assert.ok(existsSync(at.lock));
	const held = await takeLock(at.lock, options({ timeoutMs: 5000 }));
	assert.equal((await readLockOwner(at.lock))?.process.pid, process.pid);
	await held.release();
});

test("a lock whose holder was killed, but not what it had started, is not taken over", async () => {
	using at = place();
	const child = await dieAt("holding", at.lock, true);
	assert.ok(child !== undefined);
	await assert.rejects(takeLock(at.lock, options({ timeoutMs: 300 })), /held by/);
	process.kill(child, "SIGKILL");
	while (identify(child) !== undefined) await new Promise((resolve) => setTimeout(resolve, 10));
	await (await takeLock(at.lock, options({ timeoutMs: 5000 }))).release();
});

for (const point of ["made", "before-removal", "before-takeover"]) {
	test(`a lock whose holder was killed at ${point} is taken over, and by nobody beside who has it then`, async () => {
		using at = place();
		if (point === "before-takeover") await dieAt("holding", at.lock);
		await dieAt(`live_sync.lock:${point}`, at.lock);
		assert.ok(existsSync(at.lock), "it died while the lock existed");
		const patience = point === "before-takeover" ? 20_000 : 5000;
		const held = await takeLock(at.lock, options({ timeoutMs: patience }));
		await assert.rejects(takeLock(at.lock, options({ timeoutMs: 300 })), /held by process/);
		await held.release();
		assert.deepEqual(readdirSync(dirname(at.lock)), []);
	});
}

test("a lock that somebody else has made is left alone for ten seconds, whatever its age", async () => {
	using at = place();
	mkdirSync(at.lock);
	utimesSync(at.lock, 1, 1);
	await assert.rejects(takeLock(at.lock, options({ timeoutMs: 5000 })), /held by unknown/);
	await (await takeLock(at.lock, options({ timeoutMs: 15_000 }))).release();
});

test("a lock whose owner record a loss of power has torn is nobody's, at once: start has little patience", async () => {
	using at = place();
	mkdirSync(at.lock);
	writeFileSync(`${at.lock}.owner`, "");
	utimesSync(`${at.lock}.owner`, 1, 1);
	await (await takeLock(at.lock, options({ timeoutMs: 2000 }))).release();
	assert.deepEqual(readdirSync(dirname(at.lock)), []);
});

test("what an earlier holder has left beside the lock does not make the lock of a living one dead", async () => {
	using at = place();
	await dieAt("holding", at.lock);
	const stale = readFileSync(`${at.lock}.owner`);
	rmdirSync(at.lock);
	const held = await takeLock(at.lock, options());
	// as if the new holder had got as far as mkdir
	renameSync(`${at.lock}.owner`, `${at.lock}.claim.${process.pid}.1`);
	writeFileSync(`${at.lock}.owner`, stale);
	await assert.rejects(takeLock(at.lock, options({ timeoutMs: 300 })), /held by/);
	await held.release();
});

test("many who want a dead holder's lock: one after the other has it, never two", async () => {
	using at = place();
	await dieAt("holding", at.lock);
	let inside = 0;
	await Promise.all(
		Array.from({ length: 8 }, async () => {
			const held = await takeLock(at.lock, options({ timeoutMs: 20_000 }));
			assert.equal(++inside, 1);
			await new Promise((resolve) => setTimeout(resolve, 5));
			inside--;
			await held.release();
		}),
	);
});
