import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { identify, isAlive, type ProcessIdentity } from "../../../src/services/processes.ts";
import {
	clearPidFile,
	endPlayer,
	type PlayerRun,
	play,
	playerProcesses,
	readEvidence,
} from "../../../src/services/zimbra/zmplayredo.ts";
import { type ScriptedHost, scriptedHost } from "./host.ts";

let runs = 0;

async function player(host: ScriptedHost, changes: Partial<PlayerRun> = {}): Promise<PlayerRun> {
	const token = `test-${process.pid}-${runs++}`;
	const directory = host.path("live_sync/status/slices", token);
	await mkdir(directory);
	return {
		token,
		directory,
		files: ["/x/a.log", "/x/b c.log"],
		threads: 50,
		stopOnError: false,
		onProcess: async () => {},
		...changes,
	};
}

/** What the real one prints for each file it is given. */
const talk =
	'while [ "$1" != --logfiles ]; do shift; done; shift; for f in "$@"; do echo "Processing log file: $f"; done';

test("the files are given in order, with threads and --stopOnError, and the words are kept", async () => {
	await using host = await scriptedHost();
	await host.script("zmplayredo", `echo "$@" >&2; ${talk}`);
	const run = await player(host, { stopOnError: true });
	assert.equal(await play(host, run), "by itself");
	assert.deepEqual(await readEvidence(run.directory), {
		exitCode: 0,
		processed: ["/x/a.log", "/x/b c.log"],
		started: true,
		said: "--stopOnError --threads 50 --logfiles /x/a.log /x/b c.log | Processing log file: /x/a.log | Processing log file: /x/b c.log",
	});
});

test("row 'disk full': its output has room before it begins, so that what it processes cannot go unseen", async () => {
	await using host = await scriptedHost();
	await host.script(
		"zmplayredo",
		`room=$(stat -L -c '%s %b' /proc/$$/fd/1); echo $room >"$0.output"; ${talk}`,
	);
	const run = await player(host);
	await play(host, run);
	const [size, blocks] = (await readFile(host.path("bin/zmplayredo.output"), "utf8")).split(" ");
	assert.ok(Number(size) > 0 && Number(blocks) > 0);
	assert.deepEqual((await readEvidence(run.directory)).processed, run.files);
});

test("row 'zmplayredo fails': its exit code and its words are kept", async () => {
	await using host = await scriptedHost();
	await host.script("zmplayredo", 'echo "Error: mailboxd still running." ; exit 1');
	const run = await player(host);
	await play(host, run);
	const evidence = await readEvidence(run.directory);
	assert.equal(evidence.exitCode, 1);
	assert.deepEqual(evidence.processed, []);
	assert.match(evidence.said, /mailboxd still running/);
});

test("a zmplayredo that is not there executed nothing, and that is said", async () => {
	await using host = await scriptedHost();
	const run = await player(host);
	await play(host, run);
	const evidence = await readEvidence(run.directory);
	assert.equal(evidence.exitCode, 127);
	assert.match(evidence.said, /not found/);
});

test("row 'zmplayredo hangs': ended with all its processes after replay_timeout without progress", async () => {
	await using host = await scriptedHost({ replay_timeout: "5s" });
	await host.script("zmplayredo", `${talk}; sleep 600 & sleep 600`);
	const seen: ProcessIdentity[] = [];
	const run = await player(host, { onProcess: async (each) => void seen.push(each) });
	assert.equal(await play(host, run), "no progress");
	assert.equal((await readEvidence(run.directory)).exitCode, undefined);
	assert.ok(seen.length >= 3, "its children are told too");
	assert.deepEqual(seen.filter(isAlive), []);
	assert.deepEqual(playerProcesses(run.token), []);
});

test("row 'zmplayredo hangs': waiting for the database for ever is no progress, whatever it logs", async () => {
	await using host = await scriptedHost({ replay_timeout: "1s" });
	await host.script(
		"zmplayredo",
		`while :; do echo "2026-11-23 14:30:55,706 WARN  [main] [] misc - Could not establish a connection to the database.  Retrying in 5 seconds." >>${host.path("log/mailbox.log")}; sleep 0.1; done`,
	);
	assert.equal(await play(host, await player(host)), "no progress");
});

for (const [kind, work] of [
	["the next file", 'echo "Processing log file: /x/$i"'],
	["words of work in mailbox.log", 'echo "2026-11-23 14:30:55,706 INFO  x" >>"$LOG"'],
] as const) {
	test(`progress extends the deadline: ${kind}`, async () => {
		await using host = await scriptedHost({ replay_timeout: "7s" });
		await host.script(
			"zmplayredo",
			`LOG=${host.path("log/mailbox.log")}; : >$LOG; for i in 1 2 3 4 5; do sleep 1.6; ${work}; done`,
		);
		const run = await player(host);
		assert.equal(await play(host, run), "by itself");
		assert.equal((await readEvidence(run.directory)).exitCode, 0);
	});
}

test("progress extends the deadline: CPU time", async () => {
	await using host = await scriptedHost({ replay_timeout: "4s" });
	await host.script("zmplayredo", "timeout 6 sh -c 'while :; do :; done'; exit 0");
	const run = await player(host);
	assert.equal(await play(host, run), "by itself");
	assert.equal((await readEvidence(run.directory)).exitCode, 0);
});

test("a run whose processes cannot be recorded is ended at once", async () => {
	await using host = await scriptedHost();
	await host.script("zmplayredo", "sleep 600");
	const run = await player(host, { onProcess: () => Promise.reject(new Error("disk full")) });
	assert.equal(await play(host, run), "not recorded");
	assert.deepEqual(playerProcesses(run.token), []);
});

test("only the JVM is killed: the exit code tells, and what it processed stays known", async () => {
	await using host = await scriptedHost();
	await host.script("zmplayredo", `${talk}; sh -c 'kill -9 $$'; exit $?`);
	const run = await player(host);
	await play(host, run);
	const evidence = await readEvidence(run.directory);
	assert.deepEqual([evidence.exitCode, evidence.processed.length], [137, 2]);
});

test("the processes of a run are found by its name, also when the one that started it is gone", async () => {
	await using host = await scriptedHost();
	await host.script("zmplayredo", "setsid sleep 600 & exit 0");
	const run = await player(host, { token: `orphan-${process.pid}` });
	const playing = play(host, run);
	await playing; // ends what the run left behind
	assert.deepEqual(playerProcesses(run.token), []);
});

test("what a run leaves behind is ended also where its first process has ended before it could be named", async () => {
	await using host = await scriptedHost();
	await host.script("zmplayredo", "sleep 600 & exit 0");
	const run = await player(host);
	const unnamed: typeof host.run = (command, options) => {
		const { onStart: _, ...rest } = options;
		return host.run(command, rest);
	};
	await play({ ...host, run: unnamed }, run);
	const left = playerProcesses(run.token);
	for (const { pid } of left) process.kill(pid, "SIGKILL");
	assert.deepEqual(left, []);
});

async function zmplayredoByHand(host: ScriptedHost): Promise<ChildProcess> {
	await host.script("zmplayredo", "echo up; sleep 600; :");
	const child = spawn(host.path("bin/zmplayredo"), {
		stdio: ["ignore", "pipe", "inherit"],
		detached: true,
	});
	await once(child.stdout ?? child, "data");
	return child;
}

test("row 'zmplayredo leaves a pid file': it is removed when nobody runs", async () => {
	await using host = await scriptedHost();
	await writeFile(host.config.zimbra.replayPidFile, "999999\n");
	await clearPidFile(host.config, host.log);
	await assert.rejects(readFile(host.config.zimbra.replayPidFile), /ENOENT/);
	assert.match(host.logged.at(-1)?.msg ?? "", /pid file of a zmplayredo that is gone/);
});

test("a zmplayredo that an admin has started is not run beside, and its pid file stays", async () => {
	await using host = await scriptedHost();
	const child = await zmplayredoByHand(host);
	try {
		await writeFile(host.config.zimbra.replayPidFile, `${child.pid}\n`);
		await assert.rejects(clearPidFile(host.config, host.log), new RegExp(`process ${child.pid}`));
		assert.equal(await readFile(host.config.zimbra.replayPidFile, "utf8"), `${child.pid}\n`);
	} finally {
		process.kill(-(child.pid ?? 0), "SIGKILL");
	}
});

test("the processes of a run are killed by name, and by number where they show no environment", async () => {
	const token = `kill-me-${process.pid}`;
	const named = spawn("sleep", ["600"], { env: { LIVE_SYNC_RUN: token }, stdio: "ignore" });
	const bare = spawn("sleep", ["600"], { env: {}, stdio: "ignore" });
	await Promise.all([once(named, "spawn"), once(bare, "spawn")]);
	await sleep(50);
	assert.equal(playerProcesses(token).length, 1);
	const seen = identify(bare.pid ?? 0);
	assert.ok(seen);
	await endPlayer({ token, processes: [seen] });
	assert.deepEqual(playerProcesses(token), []);
	assert.equal(isAlive(seen), false);
});
