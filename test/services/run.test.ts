import assert from "node:assert/strict";
import { mkdtemp, readFile, rmdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { identify, isAlive } from "../../src/services/processes.ts";
import { describeResult } from "../../src/services/run.ts";
import { scriptedHost } from "./zimbra/host.ts";

for (const [title, session] of [
	["in a session of its own", "setsid "],
	["in the group of the command", ""],
] as const) {
	test(`a command that leaves a service behind, ${title}, is over when it has ended, and the service lives`, async () => {
		await using host = await scriptedHost();
		await host.script("start", `${session}sleep 600 & echo $! >"$0.pid"; sleep 0.2; echo started`);
		const result = await host.run([host.path("bin/start")], { timeoutMs: 60_000 });
		const pid = Number(await readFile(host.path("bin/start.pid"), "utf8"));
		const service = identify(pid);
		process.kill(pid, "SIGKILL");
		assert.ok(service);
		assert.deepEqual([result.ended, result.exitCode, result.stdout], ["by itself", 0, "started\n"]);
	});
}

test("all of a long output is there", async () => {
	await using host = await scriptedHost();
	await host.script("talk", "seq 1 50000; sleep 0.6; seq 1 50000 >&2");
	const result = await host.run([host.path("bin/talk")], { timeoutMs: 60_000 });
	assert.ok(result.stdout.endsWith("\n50000\n"));
	assert.ok(result.stderr.endsWith("\n50000\n"));
});

test("a command that does not end is ended with its children at the deadline", async () => {
	await using host = await scriptedHost();
	await host.script("hang", 'sleep 600 & echo $! >"$0.pid"; wait');
	const result = await host.run([host.path("bin/hang")], { timeoutMs: 8000 });
	assert.equal(result.ended, "deadline");
	const child = identify(Number(await readFile(host.path("bin/hang.pid"), "utf8")));
	assert.equal(child !== undefined && isAlive(child), false);
});

test("a command runs though the directory in which this program was started is gone", async () => {
	await using host = await scriptedHost();
	await host.script("tell", "pwd");
	const before = process.cwd();
	const gone = await mkdtemp(join(tmpdir(), "gone-"));
	process.chdir(gone);
	try {
		await rmdir(gone);
		const { stdout } = await host.run([host.path("bin/tell")], { timeoutMs: 60_000 });
		assert.equal(stdout, "/\n");
	} finally {
		process.chdir(before);
	}
});

test("the first words of a command that failed are told, not only the last, and without decoration", () => {
	const frame = "@".repeat(60);
	const stderr = [
		frame,
		"@         WARNING: UNPROTECTED PRIVATE KEY FILE!          @",
		frame,
		"Permissions 0640 for '/opt/zimbra/.ssh/live_sync' are too open.",
		"It is required that your private key files are NOT accessible by others.",
		"This private key will be ignored.",
		"zimbra@192.0.2.1: Permission denied (publickey).",
		"rsync: connection unexpectedly closed (0 bytes received so far) [Receiver]",
		"rsync error: unexplained error (code 255) at io.c(228) [Receiver=3.2.7]",
	].join("\r\n");
	const result = {
		exitCode: 255,
		signal: undefined,
		ended: "by itself",
		stdout: "",
		stderr,
	} as const;
	const said = describeResult(["rsync", "-a"], result);
	assert.match(said, /^rsync -a exited with 255: .*Permissions 0640 .* are too open.*code 255/);
	assert.doesNotMatch(said, /@@/);
	const long = describeResult(["x"], { ...result, stderr: `first\n${"middle\n".repeat(1e5)}last` });
	assert.match(long, /: first \| .* \| … \| .* \| last$/);
	assert.ok(long.length < 200);
});
