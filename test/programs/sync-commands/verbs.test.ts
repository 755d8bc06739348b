import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { existsSync, symlinkSync } from "node:fs";
import { mkdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { parseHello } from "../../../src/formats/protocol/hello.ts";
import { parseZimbraSettings } from "../../../src/formats/protocol/zimbra-settings.ts";
import { writePidFile } from "../../../src/services/pid-file.ts";
import { ownIdentity } from "../../../src/services/processes.ts";
import { announceIntent, withdrawIntent } from "../../../src/services/role.ts";
import { version } from "../../../src/version.ts";
import { LiveServer } from "./live-server.ts";

const program = "/opt/zimbra/live_sync/sync_commands";

test("the version is the one in package.json", async () => {
	const file = new URL("../../../package.json", import.meta.url);
	assert.equal(JSON.parse(await readFile(file, "utf8")).version, version);
});

test("a request comes on standard input, as an argument, or behind the program's name", async () => {
	await using server = await LiveServer.make();
	assert.equal((await server.ask(program, { input: "test\n" })).stdout, "OK\n");
	assert.equal((await server.ask(program, { input: "test" })).stdout, "OK\n");
	assert.equal((await server.ask(undefined, { words: ["test"] })).stdout, "OK\n");
	assert.equal((await server.ask(`${program} test`)).stdout, "OK\n");
	assert.equal((await server.ask("hello", { words: ["test"] })).stdout, "OK\n");
	const served = await server.served();
	assert.equal(served.length, 5);
	for (const line of served) assert.match(line, /info {2}sync-commands: serving request=test$/);
});

test("a FIFO or a link in the place of redo.log is refused by name, by every verb that reads it, with no hang", async () => {
	await using server = await LiveServer.make();
	const log = server.path("redolog/redo.log");
	for (const make of [
		() => execFileSync("mkfifo", [log]),
		() => symlinkSync(server.path("redolog/elsewhere"), log),
	]) {
		await rm(log, { force: true });
		make();
		for (const request of ["stream", "hello"]) {
			const { code, stderr } = await server.ask(request);
			assert.equal(code, 1, request);
			assert.match(stderr, /redo\.log is not a plain file.*\[not-a-file\]/);
		}
	}
});

test("test says busy where our live-syncd runs, and OK where a pid file names somebody else", async () => {
	await using server = await LiveServer.make();
	await mkdir(join(server.base, "pid"));
	const file = join(server.base, "pid/redo_log_live_sync.pid");
	const own = ownIdentity();
	await writePidFile(file, { ...own, startTime: own.startTime + 1 });
	assert.equal((await server.ask("test")).stdout, "OK\n");
	await writeFile(file, `${process.pid}\n`);
	assert.equal((await server.ask("test")).stdout, "OK\n");
	await writePidFile(file, own);
	assert.equal((await server.ask("test")).stdout, "busy\n");
	assert.equal(parseHello((await server.ask("hello")).stdout)?.liveSyncd, "running");
});

test("test says busy where a live_syncd of 2011 runs here, and OK where one runs elsewhere", async () => {
	await using server = await LiveServer.make();
	await using other = await LiveServer.make();
	await writeFile(join(server.base, "live_syncd"), "sleep 60; :\n");
	const child = spawn("bash", ["./live_syncd", "start"], { cwd: server.base, detached: true });
	try {
		assert.equal((await server.ask("test")).stdout, "busy\n");
		assert.equal((await other.ask("test")).stdout, "OK\n");
	} finally {
		process.kill(-(child.pid ?? 0), "SIGKILL");
	}
});

test("two servers that start at once both see that the other intends to", async () => {
	await using server = await LiveServer.make();
	const role = join(server.base, "status/role.json");
	await mkdir(join(server.base, "status"));
	await announceIntent(role);
	assert.equal((await server.ask("test")).stdout, "busy\n");
	assert.equal(parseHello((await server.ask("hello")).stdout)?.liveSyncd, "starting");
	await withdrawIntent(role);
	assert.equal((await server.ask("test")).stdout, "OK\n");
});

test("hello tells who is here and where the redo log ends", async () => {
	await using server = await LiveServer.make();
	const hello = parseHello((await server.ask("hello")).stdout);
	const { size } = await stat(server.path("redolog/redo.log"));
	assert.deepEqual(
		{ ...hello, clock: 0, diskFree: {} },
		{
			protocol: 1,
			program: version,
			zimbra: "Release 8.8.15.GA.3869.UBUNTU18.64 FOSS edition",
			redolog: {
				serverId: "5a1d0b7e-0000-4000-8000-7a696d627261",
				sequence: 4,
				createTime: hello?.redolog?.createTime,
				size,
				open: true,
			},
			role: "unknown",
			timeline: 1,
			mailboxd: "stopped",
			liveSyncd: "stopped",
			capabilities: hello?.capabilities,
			clock: 0,
			diskFree: {},
		},
	);
	assert.ok(Math.abs((hello?.clock ?? 0) - Date.now()) < 60_000);
	assert.ok((hello?.diskFree.redolog ?? 0) > 0);
});

test("hello asks zmcontrol, which starts a JVM, once for each upgrade", async () => {
	await using server = await LiveServer.make();
	await server.script(
		"zmcontrol",
		`echo run >>"${server.directory}/runs"; printf '\\n\\nRelease 8.8.15 FOSS edition.\\n'; exit 1`,
	);
	for (let i = 0; i < 3; i++) {
		assert.equal(
			parseHello((await server.ask("hello")).stdout)?.zimbra,
			"Release 8.8.15 FOSS edition",
		);
	}
	assert.equal(await readFile(join(server.directory, "runs"), "utf8"), "run\n");
	await writeFile(server.path(".install_history"), "1: CONFIGURED patch 8.8.15_P20\n");
	await server.ask("hello");
	assert.equal(await readFile(join(server.directory, "runs"), "utf8"), "run\nrun\n");
});

test("of several that ask at once for a version that zmcontrol takes long to tell, one asks it", async () => {
	await using server = await LiveServer.make();
	const body = `echo run >>"${server.directory}/runs"; sleep 1; echo "Release 8.8.15 FOSS edition."`;
	await server.script("zmcontrol", body);
	const answers = await Promise.all(
		[0, 1, 2].map(async (i) => {
			await sleep(i * 400);
			return parseHello((await server.ask("hello")).stdout)?.zimbra;
		}),
	);
	assert.deepEqual(answers, Array(3).fill("Release 8.8.15 FOSS edition"));
	assert.equal(await readFile(join(server.directory, "runs"), "utf8"), "run\n");
});

test("a zmcontrol that fails is not asked at each hello, and the version is unknown", async () => {
	await using server = await LiveServer.make();
	await server.script("zmcontrol", `echo run >>"${server.directory}/runs"; exit 1`);
	for (let i = 0; i < 2; i++) {
		const hello = parseHello((await server.ask("hello")).stdout);
		assert.equal(hello?.zimbra, undefined);
		assert.equal(hello?.protocol, 1);
	}
	assert.equal(await readFile(join(server.directory, "runs"), "utf8"), "run\n");
});

test("hello says that mailboxd runs where its process does, not where a stale pid file is", async () => {
	await using server = await LiveServer.make();
	const file = server.path("log/zmmailboxd_java.pid");
	await writeFile(file, `${process.pid}\n`);
	assert.equal(parseHello((await server.ask("hello")).stdout)?.mailboxd, "stopped");
	const words = ["-e", "setInterval(() => {}, 1e6)", "--", `-Djetty.base=${server.home}/mailboxd`];
	const child = spawn(process.execPath, words, { stdio: "ignore" });
	try {
		await writeFile(file, `${child.pid}\n`);
		assert.equal(parseHello((await server.ask("hello")).stdout)?.mailboxd, "running");
	} finally {
		child.kill("SIGKILL");
	}
});

test("a damaged role file is told, not taken for the first timeline", async () => {
	await using server = await LiveServer.make();
	await mkdir(join(server.base, "status"));
	await writeFile(join(server.base, "status/role.json"), '{"version":1,"role":"li');
	const { code, stdout, stderr } = await server.ask("hello");
	assert.equal(code, 1);
	assert.equal(stdout, "");
	assert.match(stderr, /role\.json is damaged.*put back a copy/);
});

test("query_incremental says what the schedule says, and false without zmschedulebackup", async () => {
	await using server = await LiveServer.make({ path: "{zimbra_home}/bin:/usr/bin:/bin" });
	await server.script("crontab", "exit 1");
	assert.equal((await server.ask("query_incremental")).stdout, "false\n");
	await server.script("zmschedulebackup", "echo 'f 0 1 * * 6'; echo 'd 1m 0 0 * * *'");
	assert.equal((await server.ask("query_incremental")).stdout, "false\n");
	await server.script("zmschedulebackup", "echo 'f 0 1 * * 6'; echo 'i 0 1 * * 0-5'");
	assert.equal((await server.ask("query_incremental")).stdout, "true\n");
	await server.script("zmschedulebackup", "exit 1");
	await server.script("crontab", "echo '0 1 * * 0-5 /opt/zimbra/bin/zmbackup -i'");
	assert.equal((await server.ask("query_incremental")).stdout, "true\n");
});

test("settings tells the redo log settings and the other servers, or why it cannot", async () => {
	await using server = await LiveServer.make();
	await writeFile(
		server.path("conf/localconfig.xml"),
		'<localconfig><key name="zimbra_server_hostname">\n<value>mail.example.net</value></key></localconfig>',
	);
	await server.script(
		"zmprov",
		`case "$1 $2 $3" in
"-l gs mail.example.net") echo "zimbraRedoLogEnabled: TRUE"; echo "zimbraRedoLogDeleteOnRollover: TRUE" ;;
"-l gas -v") printf '# name %s\\nzimbraServiceEnabled: mailbox\\n\\n' mail.example.net mbox2.example.net ;;
*) exit 2 ;;
esac`,
	);
	assert.deepEqual(parseZimbraSettings((await server.ask("settings")).stdout), {
		redo: {
			enabled: true,
			deleteOnRollover: true,
			crashRecoveryLookbackSeconds: undefined,
			logPath: undefined,
			archiveDirectory: undefined,
		},
		otherStores: [{ name: "mbox2.example.net", services: ["mailbox"] }],
		ownName: "mail.example.net",
	});
	await server.script("zmprov", "echo 'ERROR: service.FAILURE (system failure)' >&2; exit 2");
	const { code, stderr } = await server.ask("settings");
	assert.equal(code, 1);
	assert.match(stderr, /does not tell.*exited with 2: ERROR: service\.FAILURE/);
	// One question fails at once; the JVM of the other is not left behind.
	const ended = server.path("ended");
	await server.script("zmprov", `case "$2" in gs) exit 2 ;; esac; sleep 1; touch ${ended}; exit 2`);
	assert.equal((await server.ask("settings")).code, 1);
	assert.ok(existsSync(ended));
});

test("a configuration that cannot be read is told with file and line, and nothing is served", async () => {
	await using server = await LiveServer.make({ retension: "1h" });
	const { code, stdout, stderr } = await server.ask("test");
	assert.deepEqual([code, stdout], [1, ""]);
	assert.match(stderr, /live_sync\.conf:6: unknown setting retension; did you mean retention\?/);
});

test("another user is refused, as in 2011", async () => {
	await using server = await LiveServer.make({ user: "somebody-else" });
	const { code, stderr } = await server.ask("test");
	assert.equal(code, 1);
	assert.match(stderr, /Must run as somebody-else user/);
});

test("where the log cannot be written, requests are served all the same, and it is said", async () => {
	await using server = await LiveServer.make();
	await writeFile(join(server.base, "log"), "a file where the directory should be");
	const { code, stdout, stderr } = await server.ask("test");
	assert.deepEqual([code, stdout], [0, "OK\n"]);
	assert.match(stderr, /sync_commands\.log cannot be written/);
});
