import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readdir, readFile, stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { runToEnd } from "../../pair/run.ts";
import { ending, LiveServer } from "./live-server.ts";

/** Name and content of every file of a server, its log of served commands aside. */
async function everything(server: LiveServer): Promise<string[]> {
	const entries = await readdir(server.directory, { recursive: true, withFileTypes: true });
	const files = entries.filter((each) => each.isFile() && each.name !== "sync_commands.log");
	return await Promise.all(
		files.map(async ({ parentPath, name }) => {
			const path = join(parentPath, name);
			return `${path} ${createHash("sha256")
				.update(await readFile(path))
				.digest("hex")}`;
		}),
	);
}

const hostile = (home: string): [string, string][] => [
	["a shell command", "cat /etc/passwd"],
	["a shell", "/bin/sh -c id"],
	["a command behind a verb", "test; touch /tmp/owned"],
	["a substitution", "test $(touch owned)"],
	["backquotes", "`touch owned`"],
	["a pipe", "stream | sh"],
	["a redirection", `stream >${home}/redolog/redo.log`],
	["an option of ours", "--config /etc/passwd test"],
	["an option of node", "--eval process.exit()"],
	["a push into the redo log", `rsync --server -lHogDtprze.iLsfxCIvu . ${home}/redolog/`],
	["a push of keys", `rsync --server -logDtpr . ${home}/.ssh/ ${home}/redolog/`],
	["a read of /etc", `rsync --server --sender -logDtpr . /etc/ ${home}/redolog/`],
	["a read of the configuration", `rsync --server --sender -logDtpr . ${home}/conf/`],
	["a way up", `rsync --server --sender -logDtpr . ${home}/redolog/../conf/`],
	["secluded arguments", "rsync --server --sender -slHogDtprze.iLsfxCIvu"],
	["a daemon", "rsync --server --daemon ."],
	["a log file", `rsync --server --sender -lr --log-file=${home}/x . ${home}/redolog/`],
	["removal", `rsync --server --sender -lr --remove-source-files . ${home}/redolog/`],
	["symlinks followed", `rsync --server --sender -Lr . ${home}/redolog/`],
	[
		"a file as a mirror's name",
		"stream 1:2 server=s create=1 timeline=1 mirror=../x compress=none protocol=1",
	],
	["sftp", "internal-sftp"],
	["scp", `scp -f ${home}/conf/localconfig.xml`],
	["a very long request", `test ${"x".repeat(100_000)}`],
	["a line feed that would forge a line of the log", "test\n2026-11-23T00:00:00.000Z info  forged"],
	["control characters", "test\u001b]0;owned\u0007"],
	["letters of other scripts", "tеst"],
];

test("hostile requests are refused and logged, and nothing is read or written", async () => {
	await using server = await LiveServer.make();
	const before = await everything(server);
	const attacks = hostile(server.home);
	for (let i = 0; i < attacks.length; i += 4) {
		await Promise.all(
			attacks.slice(i, i + 4).map(async ([title, asked]) => {
				const { code, stdout, stderr } = await server.ask(asked, { input: "id\nstream\n" });
				assert.deepEqual([code, stdout], [1, ""], title);
				assert.match(stderr, /^sync-commands: refused: /, title);
				if (asked.startsWith("rsync")) assert.match(stderr, /Rejected/, title);
			}),
		);
	}
	assert.deepEqual(await everything(server), before);
	const served = await server.served();
	assert.equal(served.length, attacks.length);
	for (const line of served) {
		assert.match(line, /^\S+ warn {2}sync-commands: refused request=.* reason=/);
		assert.ok(line.length < 800, line);
	}
});

test("the log of what was served does not fill the disk: a large one is put aside, and one old one kept", async () => {
	await using server = await LiveServer.make();
	const log = join(server.base, "log/sync_commands.log");
	assert.equal((await server.ask("first")).code, 1);
	await truncate(log, (256 << 20) + 1);
	await writeFile(`${log}.old`, "an older one");
	assert.equal((await server.ask("second")).code, 1);
	assert.equal((await server.ask("third")).code, 1);
	const served = await server.served();
	assert.deepEqual(
		served.map((line) => /request=(\w+)/.exec(line)?.[1]),
		["second", "third"],
	);
	assert.equal((await stat(`${log}.old`)).size, (256 << 20) + 1);
});

for (const [title, input] of [
	["nothing", ""],
	["a shell command", "cat /etc/passwd\n"],
	["a zero byte", "test\0\n"],
	["rsync", "rsync --server --sender -lr . /opt/zimbra/redolog/\n"],
	["bytes that are no text", Buffer.from([0xff, 0xfe, 0x0a])],
	["a line without end", Buffer.alloc(1 << 20, "x")],
] as const) {
	test(`a request on standard input is refused: ${title}`, async () => {
		await using server = await LiveServer.make();
		const child = server.start("/opt/zimbra/live_sync/sync_commands");
		child.stdin.end(input);
		const { code, stdout, stderr } = await ending(child);
		assert.deepEqual([code, stdout], [1, ""]);
		assert.match(stderr, /refused/);
		assert.equal((await server.served()).length, 1);
	});
}

test("a client that connects and says nothing is not waited for", async () => {
	await using server = await LiveServer.make();
	const child = server.start("/opt/zimbra/live_sync/sync_commands");
	const ended = ending(child);
	await sleep(100);
	child.stdin.write("tes");
	const { code, stderr } = await ended;
	assert.equal(code, 1);
	assert.match(stderr, /no request came within 10 s/);
});

test("the variable LIVE_SYNC_CONF leads a forced command to no other configuration: sshd may take variables from its client", async () => {
	await using server = await LiveServer.make();
	const file = join(server.base, "live_sync.conf");
	await writeFile(file, "elsewhere=1\n");
	const program = join(import.meta.dirname, "../../../bin/sync-commands.ts");
	const { NODE_TEST_CONTEXT: _, ...environment } = process.env;
	const env = { ...environment, LIVE_SYNC_CONF: file, SSH_ORIGINAL_COMMAND: "hello" };
	const { code, stderr } = await runToEnd(process.execPath, [program], { env });
	// Beside the source there is no configuration.
	assert.equal(code, 1);
	assert.doesNotMatch(stderr, /elsewhere/);
});
