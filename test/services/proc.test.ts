import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { parseStat } from "../../src/formats/proc-stat.ts";
import { readProc } from "../../src/services/proc.ts";
import { processesRunning, processesWith } from "../../src/services/process-table.ts";
import { until } from "../pair/until.ts";

test("a command line is read whole, however long it is", async () => {
	const words = Array.from({ length: 3 }, (_, i) => String(i).repeat(50_000));
	const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1e6)", ...words]);
	await once(child, "spawn");
	try {
		const shown = readProc(child.pid ?? 0, "cmdline").split("\0");
		assert.deepEqual(shown.slice(-4, -1), words);
		assert.match(readProc(process.pid, "stat"), /^\d+ \(/);
	} finally {
		child.kill("SIGKILL");
	}
	await once(child, "exit");
	assert.throws(() => readProc(child.pid ?? 0, "stat"), { code: "ENOENT" });
});

test("a process that is about to become another program is found, by its words and by its environment", async () => {
	const directory = mkdtempSync(join(tmpdir(), "proc-"));
	const script = join(directory, "again");
	writeFileSync(script, '#!/bin/sh\nexec "$0" "$@"\n');
	chmodSync(script, 0o755);
	const child = spawn(script, ["and again"], {
		env: { LIVE_SYNC_TEST: directory },
		stdio: "ignore",
	});
	try {
		for (let look = 0; look < 40; look++) {
			const found = [
				processesRunning([script, "and again"]),
				processesWith(`LIVE_SYNC_TEST=${directory}`),
			];
			assert.deepEqual(
				found.map((each) => each.map(({ pid }) => pid)),
				[[child.pid], [child.pid]],
				`look ${look}`,
			);
		}
	} finally {
		child.kill("SIGKILL");
		rmSync(directory, { recursive: true });
	}
});

const noPython = spawnSync("python3", ["-c", ""]).status === 0 ? false : "python3 is not here";

test("nobody waits for the words of a process whose first thread has ended", {
	skip: noPython,
}, async (t) => {
	const child = spawn("python3", [
		"-c",
		"import ctypes, threading, time; threading.Thread(target=time.sleep, args=(1e6,)).start(); ctypes.CDLL(None).pthread_exit(None)",
	]);
	try {
		await until(
			"its first thread has ended",
			() => parseStat(readProc(child.pid ?? 0, "stat")).ended,
		);
		const waits = t.mock.method(Atomics, "wait");
		// Other programs that are being loaded at that moment are waited for.
		await until("a look waits for nobody", () => {
			waits.mock.resetCalls();
			processesRunning(["no such command"]);
			return waits.mock.callCount() === 0;
		});
	} finally {
		child.kill("SIGKILL");
	}
});
