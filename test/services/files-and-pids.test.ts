import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { hintOf } from "../../src/errors.ts";
import { unknownRole } from "../../src/formats/role.ts";
import { ageOf, now } from "../../src/services/clock.ts";
import {
	moveDurably,
	syncData,
	writeAt,
	writeDurably,
	writeWhole,
} from "../../src/services/files.ts";
import { readPidFile, removePidFile, writePidFile } from "../../src/services/pid-file.ts";
import { identify, isAlive, killAll, ownIdentity } from "../../src/services/processes.ts";
import { ProvenanceFile, readProvenance } from "../../src/services/redolog/provenance.ts";
import { isIntended } from "../../src/services/role.ts";
import { startDaemon } from "../../src/services/self.ts";

function directory(): { path: string } & Disposable {
	const path = mkdtempSync(join(tmpdir(), "files-"));
	return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true }) };
}

test("a durable write replaces the file and leaves nothing else behind", async () => {
	using at = directory();
	const file = join(at.path, "f");
	await writeDurably(file, "one");
	await writeDurably(file, "two");
	assert.equal(readFileSync(file, "utf8"), "two");
	await moveDurably(file, join(at.path, "g"));
	assert.deepEqual(readdirSync(at.path), ["g"]);
});

test("a write that the disk refuses names its file, which the system does not, and says what to do", async () => {
	const isSaid = (error: Error) => {
		assert.match(error.message, /^ENOSPC: no space left on device, write '\/dev\/full'$/);
		assert.match(hintOf(new Error("more", { cause: error })) ?? "", /make room .*disk full/);
		return true;
	};
	await assert.rejects(writeWhole("/dev/full", "text"), isSaid);
	await using file = await open("/dev/full", "r+");
	await assert.rejects(writeAt(file, 0, Buffer.from("text")), isSaid);
	await using reading = await open("/proc/self/stat", "r");
	await assert.rejects(syncData(reading), /^Error: EINVAL: .*, fdatasync '\/proc\/\d+\/stat'$/);
	await assert.rejects(
		writeWhole("/nowhere/file", ""),
		/^Error: ENOENT: .*, open '\/nowhere\/file'$/,
	);
});

test("a pid is believed only with the start time of its process", async () => {
	using at = directory();
	const file = join(at.path, "x.pid");
	const own = ownIdentity();
	await writePidFile(file, own);
	assert.equal(readFileSync(file, "utf8").split("\n")[0], String(process.pid));
	assert.equal((await readPidFile(file))?.pid, process.pid);
	// The same number given to another process, or to the same one in another boot.
	await writePidFile(file, { ...own, startTime: own.startTime - 1 });
	assert.equal(await readPidFile(file), undefined);
	await writePidFile(file, { ...own, bootId: "earlier" });
	assert.equal(await readPidFile(file), undefined);
	writeFileSync(file, `${process.pid}\n`);
	assert.equal(await readPidFile(file), undefined, "a bare pid proves nothing");
});

test("a pid file of somebody who lives is not removed", async () => {
	using at = directory();
	const file = join(at.path, "x.pid");
	await writePidFile(file, ownIdentity());
	await removePidFile(file, process.pid + 1);
	assert.equal(readdirSync(at.path).length, 1);
	await removePidFile(file);
	assert.equal(readdirSync(at.path).length, 0);
});

test("an intent to start counts only while its process lives, and never for the process itself", () => {
	const own = ownIdentity();
	const intendedBy = (process: typeof own) =>
		isIntended({ ...unknownRole, intent: { process, at: Date.now() } });
	const parent = identify(process.ppid);
	assert.ok(parent);
	assert.equal(intendedBy(parent), true);
	assert.equal(intendedBy({ ...parent, startTime: parent.startTime + 1 }), false);
	assert.equal(intendedBy(own), false);
	assert.equal(isIntended(unknownRole), false);
});

test("the clock jumps: ages within a boot are by the clock that does not", () => {
	const moment = now();
	for (const jump of [-1e9, 0, 1e9]) {
		assert.ok(Math.abs(ageOf({ ...moment, wall: moment.wall + jump })) < 60_000);
		const earlier = ageOf({ ...moment, wall: moment.wall + jump, bootId: "earlier" });
		assert.ok(jump < 0 ? earlier >= 1e9 : earlier >= 0 && earlier < 60_000);
	}
});

test("a zombie does not live", async () => {
	const child = spawn("cat");
	const identity = identify(child.pid ?? 0);
	assert.ok(identity);
	child.stdin.end();
	await new Promise((resolve) => child.once("exit", resolve));
	assert.equal(isAlive(identity), false);
});

test("what is killed and does not end is not waited for without end", async () => {
	const anotherOne = () => {
		const child = identify(spawn("sleep", ["600"], { stdio: "ignore" }).pid ?? 0);
		assert.ok(child);
		return [child];
	};
	const born: ReturnType<typeof anotherOne> = [];
	const find = () => {
		born.push(...anotherOne());
		return born.filter(isAlive);
	};
	await assert.rejects(
		killAll("of a test", find, 300),
		/process \d+, of a test, was killed and is/,
	);
	assert.equal((await killAll("of a test", () => born.filter(isAlive))).length, 1);
	assert.deepEqual(born.filter(isAlive), []);
});

const record = {
	identity: { serverId: "id", sequence: 1, createTime: 2, timeline: 1 },
	from: 512,
	upTo: 512,
	digest: "00",
	headers: ["11"],
	receiving: true,
};

test("the provenance record survives a write that was torn at any byte", async () => {
	using at = directory();
	const path = join(at.path, "record");
	{
		await using file = await ProvenanceFile.open(path);
		await file.update(() => record);
		await file.update((known) => ({ ...(known ?? record), upTo: 1024 }));
	}
	const before = readFileSync(path);
	{
		await using file = await ProvenanceFile.open(path);
		assert.equal(file.current?.upTo, 1024);
		await file.update((known) => ({ ...(known ?? record), upTo: 2048 }));
	}
	const after = readFileSync(path);
	for (let torn = 0; torn <= after.length; torn += 37) {
		writeFileSync(path, Buffer.concat([after.subarray(0, torn), before.subarray(torn)]));
		const upTo = (await readProvenance(path))?.upTo;
		assert.ok(upTo === 1024 || upTo === 2048, `torn at ${torn}: ${upTo}`);
	}
});

test("changes of the provenance record that overlap are all kept", async () => {
	using at = directory();
	const path = join(at.path, "record");
	await using file = await ProvenanceFile.open(path);
	await file.update(() => record);
	await Promise.all([
		file.update((known) => ({ ...(known ?? record), upTo: 4096 })),
		file.update((known) => ({ ...(known ?? record), headers: ["22"] })),
	]);
	const kept = await readProvenance(path);
	assert.deepEqual([kept?.upTo, kept?.headers], [4096, ["22"]]);
});

test("a daemon that cannot be started is an error that can be caught, and no other comes after it", async () => {
	assert.throws(
		() => startDaemon(["/nowhere/live-syncd", "loop"]),
		/\/nowhere\/live-syncd could not/,
	);
	await new Promise((resolve) => setTimeout(resolve, 50));
});
