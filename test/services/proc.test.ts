import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { readProc } from "../../src/services/proc.ts";

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
