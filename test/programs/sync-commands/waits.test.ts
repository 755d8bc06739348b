import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawnSync } from "node:child_process";
import { once } from "node:events";
import { appendFile, mkdir, readFile, rename, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { until } from "../../pair/until.ts";
import { ending, LiveServer } from "./live-server.ts";

const established = (child: { stderr: NodeJS.ReadableStream }) =>
	new Promise<void>((resolve) => {
		let text = "";
		child.stderr.on("data", (piece: string) => {
			text += piece;
			if (text.includes("Watches established.")) resolve();
		});
	});

const runs = (child: ChildProcess) => child.exitCode === null && child.signalCode === null;

test("stream sends redo.log from its first byte, then what is appended, also across a rollover", async () => {
	await using server = await LiveServer.make();
	const path = server.path("redolog/redo.log");
	// As in 2011: `echo stream | ssh …`, so that standard input ends at once.
	const child = server.start("/opt/zimbra/live_sync/sync_commands");
	const pieces: Buffer[] = [];
	child.stdout.on("data", (piece: Buffer) => pieces.push(piece));
	child.stdin.end("stream\n");
	const received = () => Buffer.concat(pieces);
	const first = await readFile(path);
	await until("the whole file", () => received().equals(first));
	for (let i = 0; i < 50; i++) {
		await appendFile(path, `piece ${i}`.repeat(100));
		if (i % 10 === 0) await sleep(5);
	}
	const archived = server.path("redolog/archive/redo-20261123.150000.000-seq4.log");
	await rename(path, archived);
	await appendFile(archived, "last words");
	const whole = await readFile(archived);
	await until("what was appended", () => received().equals(whole));
	await writeFile(path, "the next log");
	await sleep(700);
	assert.ok(received().equals(whole), "it stays with the file");
	assert.ok(runs(child));
});

test("stream goes on at the cut when mailboxd's recovery has cut a torn record off", async () => {
	await using server = await LiveServer.make();
	const path = server.path("redolog/redo.log");
	const first = await readFile(path);
	const child = server.start("stream");
	const ended = ending(child);
	let stdout = "";
	let stderr = "";
	child.stdout.on("data", (text: string) => {
		stdout += text;
	});
	child.stderr.on("data", (text: string) => {
		stderr += text;
	});
	await until("the whole file", () => stdout === first.toString());
	await truncate(path, first.length - 100);
	await until("the cut is noticed", () => /redo\.log: file truncated, going on at/.test(stderr));
	await appendFile(path, "after recovery");
	await until("what came after the cut", () => stdout.endsWith("after recovery"));
	child.kill();
	await ended;
});

test("stream ends when nobody reads it any more", async () => {
	await using server = await LiveServer.make();
	const child = server.start("stream");
	const exited = new Promise((resolve) => child.once("exit", resolve));
	child.stdout.once("data", () => child.stdout.destroy());
	await until("the first piece", () => child.stdout.destroyed);
	await appendFile(server.path("redolog/redo.log"), "more");
	assert.equal(await exited, 1);
});

test("stream without a redo.log says so", async () => {
	await using server = await LiveServer.make();
	await rm(server.path("redolog/redo.log"));
	const { code, stderr } = await server.ask("stream");
	assert.equal(code, 1);
	assert.match(stderr, /redo\.log is not there: is redo logging on/);
});

test("wait_redo names the archive of the first rollover, in inotifywait's words", async () => {
	await using server = await LiveServer.make();
	const child = server.start(undefined, ["wait_redo"]);
	const ended = ending(child);
	await established(child);
	const current = server.path("redolog/redo.log");
	await appendFile(current, "more");
	await sleep(200);
	assert.ok(runs(child), "an append is no rollover");
	await writeFile(server.path("redolog/~tmp-redo-1-seq5.log"), "next");
	const archive = server.path("redolog/archive");
	await rename(current, join(archive, "redo-20261123.150000.000-seq4.log"));
	await rename(server.path("redolog/~tmp-redo-1-seq5.log"), current);
	const { code, stdout } = await ended;
	assert.equal(code, 0);
	assert.equal(stdout.trimStart(), `${archive}/ MOVED_TO redo-20261123.150000.000-seq4.log\n`);
	// What the script of 2011 does with it: tail -n 1 | egrep -o "redo-.*log"
	const name = execFileSync("sh", ["-c", 'tail -n 1 | grep -E -o "redo-.*log"'], { input: stdout });
	assert.equal(name.toString(), "redo-20261123.150000.000-seq4.log\n");
});

test("wait_redo ends without an archive where the log is deleted at the rollover", async () => {
	await using server = await LiveServer.make();
	const child = server.start(undefined, ["wait_redo"]);
	const ended = ending(child);
	await established(child);
	const current = server.path("redolog/redo.log");
	await writeFile(server.path("redolog/~tmp-redo-1-seq5.log"), "next");
	await rm(current);
	await sleep(600);
	assert.ok(runs(child), "between the two steps there is no redo.log");
	await rename(server.path("redolog/~tmp-redo-1-seq5.log"), current);
	assert.equal((await ended).stdout.trimStart(), `${server.path("redolog")}/ MOVED_TO redo.log\n`);
});

test("wait_ldap ends on a change of cn=config, and not before", async () => {
	await using server = await LiveServer.make({ ldap_poll: "50ms" });
	const child = server.start(undefined, ["wait_ldap"]);
	const ended = ending(child);
	await established(child);
	await sleep(300);
	assert.ok(runs(child));
	const file = server.path("data/ldap/config/cn=config/olcDatabase={2}mdb.ldif");
	await writeFile(file, "dn: olcDatabase={2}mdb\n");
	const { code, stdout } = await ended;
	assert.equal(code, 0);
	assert.match(stdout, /data\/ldap\/config\/cn=config\/ MODIFY olcDatabase=\{2\}mdb\.ldif\n$/);
});

test("wait_ldap ends on a transaction that makes no file event, as slapd's writemap makes none", async () => {
	await using server = await LiveServer.make({ ldap_poll: "50ms" });
	const database = server.path("data/ldap/mdb/db");
	await mkdir(database, { recursive: true });
	execFileSync("mdb_load", [database], { input: dump(["a", "b"]) });
	const child = server.start(undefined, ["wait_ldap"]);
	const ended = ending(child);
	await established(child);
	await sleep(300);
	assert.ok(runs(child), "nothing has changed yet");
	// Its own file is left out of the watch, so only the transaction id can tell.
	execFileSync("mdb_load", [database], { input: dump(["c", "d"]) });
	const { code, stdout } = await ended;
	assert.deepEqual([code, stdout.trimStart()], [0, `${database}/ MODIFY data.mdb\n`]);
});

/** In a namespace where inotify has no instance to give; whoever runs it is root there. */
const withoutInotify = [
	...["unshare", "--user", "--map-root-user", "sh", "-c"],
	'echo 0 >/proc/sys/user/max_inotify_instances && exec "$@"',
	"sh",
];
const canLimitInotify = spawnSync(withoutInotify[0] ?? "", [...withoutInotify.slice(1), "true"]);

test("where inotify's instances are used up, wait_ldap and ldap_changes tell a change all the same", {
	skip: canLimitInotify.status === 0 ? false : "no user namespaces here",
}, async () => {
	await using server = await LiveServer.make({
		ldap_poll: "50ms",
		// As whom the namespace shows us.
		user: "root",
	});
	await mkdir(server.path("data/ldap/mdb/db"), { recursive: true });
	execFileSync("mdb_load", [server.path("data/ldap/mdb/db")], { input: dump(["a", "b"]) });
	const file = server.path("data/ldap/config/cn=config/olcDatabase={2}mdb.ldif");
	const wait = server.start(undefined, ["wait_ldap"], { prefix: withoutInotify });
	const changes = server.start(undefined, ["ldap_changes"], { prefix: withoutInotify });
	const ended = ending(wait);
	await established(wait);
	let said = "";
	changes.stdout.on("data", (text: string | Buffer) => {
		said += text.toString();
	});
	const digests = () => new Set([...said.matchAll(/"files":"(\w+)"/g)].map(([, each]) => each));
	await until("a first look", () => digests().size === 1);
	await appendFile(file, "olcDbIndex: sn eq\n");
	assert.match((await ended).stdout, /MODIFY olcDatabase=\{2\}mdb\.ldif\n$/);
	await until("a look at the change", () => digests().size === 2);
});
for (const verb of ["wait_redo", "wait_ldap"]) {
	test(`${verb} ends with its channel: not when its input ends, but when nobody reads it any more`, async () => {
		await using server = await LiveServer.make();
		// As in 2011: `echo wait_redo | ssh …`. The connection itself stays, as with ssh's ControlMaster.
		const child = server.start("/opt/zimbra/live_sync/sync_commands");
		const ended = once(child, "exit");
		const watches = established(child);
		child.stdin.end(`${verb}\n`);
		await watches;
		await sleep(1500);
		assert.ok(runs(child), "it waits");
		child.stdout.destroy();
		await ended;
	});
}

test("wait_ldap without LDAP data never says that it watches", async () => {
	await using server = await LiveServer.make();
	await rm(server.path("data/ldap"), { recursive: true });
	const { code, stderr } = await server.ask("wait_ldap");
	assert.equal(code, 1);
	assert.doesNotMatch(stderr, /established/);
	assert.match(stderr, /data\/ldap/);
});

/** What mdb_load reads: one database with these keys. */
function dump(keys: string[]): string {
	const hex = (text: string) => Buffer.from(text).toString("hex");
	const head = "VERSION=3\nformat=bytevalue\ntype=btree\nmapsize=1048576\nHEADER=END\n";
	return `${head}${keys.map((key) => ` ${hex(key)}\n ${hex("value")}\n`).join("")}DATA=END\n`;
}
