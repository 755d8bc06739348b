import assert from "node:assert/strict";
import { cpSync, existsSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { logsIn } from "./committed.ts";
import type { Host } from "./host.ts";
import { mailOf } from "./install.ts";
import { createPair, type Pair } from "./pair.ts";
import { lives } from "./processes.ts";
import { op } from "./redo/layouts.ts";
import { compareStores } from "./store-dump.ts";
import { until } from "./until.ts";

const [user1, user2, user3] = ["user1@example.net", "user2@example.net", "user3@example.net"];
const users = [user1, user2, user3];
const emptyLog = (host: Host) => host.path("redolog/redo.log");

/** Lets work happen on host a, stops it, and gives host b its logs and the services that replay needs. */
async function withLogs(
	pair: Pair,
	work: (mailbox: Host["mailbox"]) => Promise<unknown>,
): Promise<string[]> {
	const { a, b } = pair;
	await work(a.mailbox);
	await a.stopZimbra();
	cpSync(a.path("redolog"), b.path("redolog"), { recursive: true });
	await b.mustRun("ldap", "start");
	await b.mustRun("mysql.server", "start");
	return logsIn(b.path("redolog")).filter((path) => path !== emptyLog(b));
}

const differences = async ({ a, b }: Pair): Promise<string[]> =>
	compareStores(await a.dumpStore(), await b.dumpStore());
const mailboxLog = (host: Host): string =>
	existsSync(host.path("log/mailbox.log"))
		? readFileSync(host.path("log/mailbox.log"), "utf8")
		: "";
const replay = (host: Host, ...words: string[]) => host.run("zmplayredo", ...words);

test("all logs once, in order: the two stores are equal message by message", async () => {
	await using pair = await createPair({ ldap: false });
	const logs = await withLogs(pair, async (mailbox) => {
		const [, first] = await mailbox.deliver({ to: [user1] });
		await mailbox.deliver({ to: users, size: 20_000 });
		const folder = await mailbox.createFolder(user1, "Projects");
		await mailbox.copy(user1, [first?.item ?? 0], folder.item ?? 0);
		await mailbox.rollover();
		await mailbox.move(user1, [first?.item ?? 0], folder.item ?? 0);
		await mailbox.flag(user1, [first?.item ?? 0], "\\Flagged", true);
		await mailbox.markFolderRead(user2, 2);
		const mails = await mailbox.deliver({ to: [user2], conversation: "new" });
		await mailbox.moveConversation(user2, (mails[0]?.item ?? 0) + 1, 3);
		await mailbox.deliver({ to: [user3], abort: true });
		const [doomed] = await mailbox.deliver({ to: [user3] });
		await mailbox.setImapUid(user3, doomed?.item ?? 0, 4711);
		await mailbox.delete(user3, [doomed?.item ?? 0]);
	});
	const { code, stdout } = await replay(pair.b);
	assert.equal(code, 0);
	assert.match(
		stdout,
		/^mailboxd is not running\.\nReplaying operations for all mailboxes\nUsing 50 /,
	);
	assert.match(stdout, /\n3 redolog files to play back\nProcessing log file: .*seq0\.log\n/);
	assert.equal(logs.length, 2);
	assert.deepEqual(await differences(pair), []);
});

test("a link whose blob is in an earlier run is lost, with exit 0", async () => {
	await using pair = await createPair({ ldap: false });
	const logs = await withLogs(pair, async (mailbox) => {
		for (const user of users) await mailbox.deliver({ to: [user] });
		await mailbox.deliver({ to: users, rolloverBefore: 1 });
	});
	for (const log of logs) assert.equal((await replay(pair.b, "--logfiles", log)).code, 0);
	assert.equal((await differences(pair)).filter((each) => each.endsWith(": missing")).length, 2);
	assert.match(mailboxLog(pair.b), /ERROR \[RedoPlayer-\d+\].*Unable to execute redo op: txn /);
	assert.match(mailboxLog(pair.b), /Missing link source blob .*\/store\/incoming\//);
});

test("the same two logs in one run lose nothing", async () => {
	await using pair = await createPair({ ldap: false });
	const logs = await withLogs(pair, async (mailbox) => {
		await mailbox.deliver({ to: users, rolloverBefore: 1 });
	});
	assert.equal((await replay(pair.b, "--logfiles", ...logs)).code, 0);
	assert.deepEqual(await differences(pair), []);
});

test("a log executed twice: a copy loses its file, a folder's mark hits later mail", async () => {
	await using pair = await createPair({ ldap: false });
	await withLogs(pair, async (mailbox) => {
		const [, first] = await mailbox.deliver({ to: [user1] });
		await mailbox.copy(user1, [first?.item ?? 0], 5);
		await mailbox.markFolderRead(user1, 2);
		await mailbox.deliver({ to: [user1] });
	});
	await replay(pair.b);
	assert.deepEqual(await differences(pair), []);
	assert.equal((await replay(pair.b)).code, 0);
	const found = (await differences(pair)).map((each) => each.replace(/^.*: /, ""));
	assert.deepEqual(found.filter((each) => each.startsWith("fileMissing")).length, 1);
	assert.ok(found.includes("tags is , not \\Unread"));
});

test("an old log replayed alone brings deleted mail back", async () => {
	await using pair = await createPair({ ldap: false });
	const [first = ""] = await withLogs(pair, async (mailbox) => {
		const [, mail] = await mailbox.deliver({ to: [user1] });
		await mailbox.rollover();
		await mailbox.delete(user1, [mail?.item ?? 0]);
	});
	await replay(pair.b);
	assert.deepEqual(await differences(pair), []);
	await replay(pair.b, "--logfiles", first);
	assert.match((await differences(pair)).join(), /too many/);
});

test("an operation whose number Zimbra does not know drops the rest of that file, with exit 0", async () => {
	await using pair = await createPair({ ldap: false });
	const [first = ""] = await withLogs(pair, async (mailbox) => {
		for (const user of users) await mailbox.deliver({ to: [user] });
		await mailbox.rollover();
		await mailbox.deliver({ to: [user1] });
	});
	const bytes = readFileSync(first);
	const middle = bytes.indexOf("ZMREDO", bytes.length / 2);
	const record = bytes.indexOf(
		Buffer.from("ZMREDO\x00\x01\x00\x2a\x00\x00\x00\x03", "latin1"),
		middle,
	);
	bytes.writeInt32BE(199, record + 10);
	writeFileSync(first, bytes);
	assert.equal((await replay(pair.b)).code, 0);
	assert.match(mailboxLog(pair.b), /Ignoring error and moving on: NullPointerException/);
	const missing = (await differences(pair)).length;
	assert.ok(missing > 0, "the rest of the first file is lost");
	assert.notEqual((await replay(pair.b, "--stopOnError")).code, 0);
});

test("a torn archive in the middle loses its tail, with exit 0 even with --stopOnError", async () => {
	await using pair = await createPair({ ldap: false });
	const [first = ""] = await withLogs(pair, async (mailbox) => {
		for (const user of users) await mailbox.deliver({ to: [user] });
		await mailbox.deliver({ to: [user1], size: 5000 });
		await mailbox.rollover();
		await mailbox.deliver({ to: [user2] });
	});
	truncateSync(first, readFileSync(first).length - 3000);
	assert.equal((await replay(pair.b, "--stopOnError")).code, 0);
	assert.match(mailboxLog(pair.b), /There were \d+ bytes of junk data at the end of/);
	assert.equal((await differences(pair)).length, 1);
});

test("bad bytes are skipped up to the next ZMREDO, even one in a mail", async () => {
	await using pair = await createPair({ ldap: false });
	const [first = ""] = await withLogs(pair, async (mailbox) => {
		for (const user of users) await mailbox.deliver({ to: [user] });
	});
	const bytes = readFileSync(first);
	bytes.write("XXXXXX", 512 + 86 + 50, "latin1");
	writeFileSync(first, bytes);
	assert.equal((await replay(pair.b)).code, 0);
	assert.match(mailboxLog(pair.b), /Skipped bad bytes in redolog/);
});

test("any listed file under 512 bytes ends the run with 1 before anything is executed", async () => {
	await using pair = await createPair({ ldap: false });
	const logs = await withLogs(pair, (mailbox) => mailbox.deliver({ to: [user1] }));
	truncateSync(emptyLog(pair.b), 500);
	assert.equal((await replay(pair.b)).code, 1);
	assert.deepEqual(pair.b.executions(), []);
	assert.equal((await replay(pair.b, "--logfiles", ...logs)).code, 0);
});

test("it refuses while mailboxd runs, with a pid file, a bad option, or a missing file", async () => {
	await using pair = await createPair({ ldap: false });
	const { a, b } = pair;
	assert.match((await replay(a)).stdout, /mailboxd still running/);
	const [log = ""] = await withLogs(pair, (mailbox) => mailbox.deliver({ to: [user1] }));
	writeFileSync(b.path("log/zmplayredo.pid"), "4194000\n");
	const refused = await replay(b, "--logfiles", log);
	assert.deepEqual(
		[refused.code, /another instance .*4194000\) is already running/.test(refused.stdout)],
		[1, true],
	);
	await b.run("rm", b.path("log/zmplayredo.pid"));
	for (const words of [["--nonsense"], ["--fromSeq", "3", "--toSeq", "2"], ["--logfiles", "/none"]])
		assert.equal((await replay(b, ...words)).code, 1, words.join(" "));
	assert.deepEqual(b.executions(), []);
});

test("without LDAP it ends with 1, without the database it waits for ever", async () => {
	await using pair = await createPair({ ldap: false });
	const { b } = pair;
	await withLogs(pair, (mailbox) => mailbox.deliver({ to: [user1] }));
	await b.mustRun("ldap", "stop");
	assert.equal((await replay(b)).code, 1);
	await b.mustRun("ldap", "start");
	await b.mustRun("mysql.server", "stop");
	b.replayFaults({ databaseRetryMs: 50 });
	const waiting = replay(b);
	await until("it has tried several times", () => mailboxLog(b).split("Retrying").length > 4);
	await b.mustRun("mysql.server", "start");
	assert.equal((await waiting).code, 0);
	assert.deepEqual(await differences(pair), []);
});

test("mail for an account that is not in LDAP is skipped for good, with exit 0", async () => {
	await using pair = await createPair({ ldap: false });
	await withLogs(pair, async (mailbox) => {
		await pair.a.createAccount("new@example.net");
		await mailbox.deliver({ to: ["new@example.net"] });
	});
	assert.equal((await replay(pair.b)).code, 0);
	assert.match(mailboxLog(pair.b), /Account \S+ does not exist/);
	assert.match(mailboxLog(pair.b), /no such mailbox: 3/);
	assert.match((await differences(pair)).join(), /missing/);
});

test("an account with another mailbox id is mapped, for this run only", async () => {
	await using pair = await createPair({ ldap: false });
	const { b } = pair;
	const logs = await withLogs(pair, async (mailbox) => {
		await mailbox.deliver({ to: [user1] });
		await mailbox.rollover();
		await mailbox.deliver({ to: [user1] });
	});
	await b.mustRun("zmmailboxdctl", "start"); // as if an admin had tried it out
	await b.mailbox.deliver({ to: [user2] });
	await b.mailbox.deliver({ to: [user1] });
	await b.mustRun("zmmailboxdctl", "stop");
	const rows = await b.mustRun("mysql", "-N", "-e", "SELECT id, account_id FROM zimbra.mailbox");
	assert.equal(rows.trim().split("\n").length, 2);
	const volumes = await b.mustRun("mysql", "-N", "-B", "-e", "SELECT path FROM zimbra.volume");
	assert.deepEqual(volumes.trim().split("\n"), [b.path("store"), b.path("index")]);
	const [first = "", second = ""] = logs;
	assert.equal((await replay(b, "--logfiles", first)).code, 0);
	assert.match(mailboxLog(b), /found mismatched mailboxId 4 expected 3/);
	assert.match(mailboxLog(b), /mailbox conflict, mapping old ID 3 to 4/);
	await replay(b, "--logfiles", second);
	const where = b
		.executions()
		.filter(({ by }) => by.startsWith("zmplayredo"))
		.at(-1);
	assert.equal(where?.mailboxId, 3, "without the map, user1's mail goes to user2's mailbox");
});

test("with --stopOnError an error in a player thread near the end still exits 0, in one thread it exits 1", async () => {
	await using pair = await createPair({ ldap: false });
	await withLogs(pair, (mailbox) => mailbox.deliver({ to: [user1] }));
	pair.b.replayFaults({ failOpcode: op.createMessage });
	assert.equal((await replay(pair.b, "--stopOnError")).code, 0);
	assert.equal((await replay(pair.b, "--stopOnError", "--threads", "1")).code, 1);
	assert.equal((await replay(pair.b, "--threads", "1")).code, 0);
	assert.match(mailboxLog(pair.b), /WARN {2}\[main\].*Ignoring error during redo log replay: /);
});

test("killed in the middle, it has executed a part, and only its shell removes the pid file", async () => {
	await using pair = await createPair({ ldap: false });
	const { b } = pair;
	await withLogs(pair, async (mailbox) => {
		for (const user of users) await mailbox.deliver({ to: [user] });
	});
	b.replayFaults({ dieAfter: 3 });
	assert.equal((await replay(b, "--threads", "1")).code, 137);
	assert.equal(b.executions().length, 3);
	assert.equal(existsSync(b.path("log/zmplayredo.pid")), false);
	b.replayFaults({ dieAfter: 3, dieWithShell: true });
	assert.equal((await replay(b)).code, 137);
	assert.ok(existsSync(b.path("log/zmplayredo.pid")));
});

test("killing the command leaves the player running", async () => {
	await using pair = await createPair({ ldap: false });
	const { b } = pair;
	await withLogs(pair, (mailbox) => mailbox.deliver({ to: users }));
	b.replayFaults({ hangAfter: 2 });
	const running = replay(b);
	await until("it hangs", () => b.executions().length === 2);
	const shell = Number(readFileSync(b.path("log/zmplayredo.pid"), "utf8"));
	process.kill(shell, "SIGKILL");
	await running;
	const [player] = b.strayProcesses();
	assert.match(player?.command ?? "", /services\/zmplayredo\.ts/);
	assert.ok(lives(player?.pid ?? 0));
});

test("only the logs that are asked for are played, by name for archives and by header for redo.log", async () => {
	await using pair = await createPair({ ldap: false });
	await withLogs(pair, async (mailbox) => {
		for (const user of users) {
			await mailbox.deliver({ to: [user] });
			await mailbox.rollover();
		}
	});
	const { stdout } = await replay(pair.b, "--fromSeq", "1", "--toSeq", "2");
	assert.match(stdout, /2 redolog files to play back/);
	const executed = pair.b.executions();
	assert.deepEqual(
		executed.map(({ mailboxId }) => mailboxId).sort((a, b) => a - b),
		[4, 4, 5, 5],
	);
});

test("logs of Zimbra's own classes give the messages that their writer was told are safe", async () => {
	const samples = join(import.meta.dirname, "../fixtures/redolog-samples/main");
	const accounts = [3, 4, 5, 6].map((number) => ({
		id: `0000000${number}-aaaa-4bbb-8ccc-00000000000${number}`,
		mail: mailOf(number),
		name: `user${number}`,
	}));
	await using pair = await createPair({ ldap: false, accounts, started: false });
	const { b } = pair;
	cpSync(samples, b.path("redolog"), { recursive: true });
	await b.mustRun("ldap", "start");
	await b.mustRun("mysql.server", "start");
	assert.equal((await replay(b)).code, 0);
	assert.deepEqual(
		b.executions().filter(({ result }) => result.startsWith("failed")),
		[],
	);
	const found = new Map(
		[...(await b.dumpStore()).values()].map((each) => [
			`${each.mailboxId}/${each.item}`,
			each.sha256,
		]),
	);
	const lines = readFileSync(join(samples, "truth.tsv"), "utf8").split("\n").slice(1, -1);
	const told = lines.map((line) => line.split("\t"));
	const deleted = new Set(
		told
			.filter(([, , , , , , what]) => what === "DeleteItem")
			.map(([, , box, item]) => `${box}/${item}`),
	);
	let compared = 0;
	for (const [, , box, item, sha256, , what] of told) {
		if (what !== "CreateMessage" || deleted.has(`${box}/${item}`)) continue;
		compared++;
		assert.equal(found.get(`${box}/${item}`), sha256?.replace("link:", ""));
	}
	assert.ok(compared > 50);
});
