import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { bytesSource } from "../../src/formats/redolog/cursor.ts";
import { LogWalk } from "../../src/formats/redolog/walker.ts";
import { logsIn } from "./committed.ts";
import type { Host } from "./host.ts";
import { createPair } from "./pair.ts";
import { op } from "./redo/layouts.ts";
import { LogReader, recordsOf } from "./redo/log-reader.ts";
import { type RedoRecord, transactionName } from "./redo/record.ts";
import { compareStores } from "./store-dump.ts";

const user1 = "user1@example.net";
const users = [user1, "user2@example.net", "user3@example.net"];

const headerOf = (path: string) => {
	using reader = new LogReader(path);
	return { ...reader.header, length: reader.sizeAtOpen };
};
const recordsIn = (path: string): RedoRecord[] => [...recordsOf(path)].map(({ record }) => record);
const opcodes = (path: string): number[] => recordsIn(path).map(({ opcode }) => opcode);
const archives = (host: Host): string[] =>
	logsIn(host.path("redolog")).filter((path) => path.includes("/archive/"));
const temporaries = (host: Host): string[] =>
	readdirSync(host.path("redolog")).filter((name) => name.startsWith("~tmp"));

test("mail to several recipients is one blob, committed first, and a link for each", async () => {
	await using pair = await createPair({ ldap: false });
	const { mailbox } = pair.a;
	for (const user of users) await mailbox.deliver({ to: [user] });
	await mailbox.rollover();
	await mailbox.deliver({ to: users, size: 5000 });
	const records = recordsIn(pair.a.path("redolog/redo.log"));
	assert.deepEqual(
		records.map(({ opcode }) => opcode),
		[op.storeIncomingBlob, op.commit, ...users.flatMap(() => [op.createMessage, op.commit])],
	);
	const [blob, , link] = records;
	assert.equal(link?.fields["path"], blob?.fields["path"]);
	assert.ok((link?.transaction.counter ?? 0) < (blob?.transaction.counter ?? 0));
});

test("an operation that fails is logged as aborted and leaves nothing in the store", async () => {
	await using pair = await createPair({ ldap: false });
	const { mailbox } = pair.a;
	await mailbox.deliver({ to: [user1] });
	const before = await pair.a.dumpStore();
	await mailbox.deliver({ to: [user1], abort: true });
	assert.equal(opcodes(pair.a.path("redolog/redo.log")).at(-1), op.abort);
	assert.deepEqual(compareStores(before, await pair.a.dumpStore()), []);
	assert.equal(pair.acknowledged.length, 2, "the mailbox and the first mail");
});

test("a rollover keeps the file, logs open operations again and names them in a checkpoint", async () => {
	await using pair = await createPair({ ldap: false });
	const { mailbox } = pair.a;
	await mailbox.deliver({ to: users });
	const open = [
		await mailbox.begin({ to: [user1] }),
		await mailbox.begin({ to: ["user2@example.net"] }),
	];
	const { ino } = statSync(pair.a.path("redolog/redo.log"));
	await mailbox.rollover();
	const [archive = ""] = archives(pair.a);
	assert.equal(statSync(archive).ino, ino);
	assert.match(archive, /redo-\d{8}\.\d{6}\.\d{3}-seq0\.log$/);
	const old = headerOf(archive);
	assert.deepEqual([old.open, old.fileSize, old.sequence], [false, old.length, 0]);
	const checkpoint = recordsIn(archive).at(-1)?.fields ?? {};
	const current = pair.a.path("redolog/redo.log");
	assert.deepEqual(
		(checkpoint["transactions"] as { time: number; counter: number }[]).map(transactionName),
		recordsIn(current).map(({ transaction }) => transactionName(transaction)),
	);
	assert.deepEqual(opcodes(current), [op.createMessage, op.createMessage]);
	assert.deepEqual([headerOf(current).open, headerOf(current).sequence], [true, 1]);
	for (const each of open) await each.commit();
	assert.deepEqual(opcodes(current).slice(2), [op.commit, op.commit]);
});

const rolloverStates = [
	{ at: "closed", current: true, open: false, temporary: 0, archived: 0 },
	{ at: "temporary", current: true, open: false, temporary: 1, archived: 0 },
	{ at: "archived", current: false, open: false, temporary: 1, archived: 1 },
	{ at: "renamed", current: true, open: false, temporary: 0, archived: 1 },
];
for (const { at, current, open, temporary, archived } of rolloverStates)
	test(`a death in a rollover (${at}) leaves what it leaves, and the next start goes on`, async () => {
		await using pair = await createPair({ ldap: false });
		const { a } = pair;
		await a.mailbox.deliver({ to: users });
		const transaction = await a.mailbox.begin({ to: [user1] });
		await a.mailbox.dieAt({ at: `rollover:${at}` });
		await assert.rejects(a.mailbox.rollover());
		await a.crashMailboxd();
		assert.equal(existsSync(a.path("redolog/redo.log")), current);
		if (current) assert.equal(headerOf(a.path("redolog/redo.log")).open, open);
		assert.equal(temporaries(a).length, temporary);
		assert.equal(archives(a).length, archived);
		await assert.rejects(transaction.commit());

		await a.mustRun("zmmailboxdctl", "start");
		await a.mailbox.deliver({ to: [user1] });
		assert.equal(temporaries(a).filter((name) => name.endsWith(".log")).length, 0);
		const sequences = logsIn(a.path("redolog")).map((path) => headerOf(path).sequence);
		assert.deepEqual(
			sequences,
			sequences.map((_, i) => i),
			"no sequence is missing or there twice",
		);
		const committed = new Set(a.committed().map((each) => each.transaction));
		assert.deepEqual(
			pair.acknowledged.filter((each) => !committed.has(each.transaction)),
			[],
		);
	});

test("a death inside of a record leaves half a record, which the next start cuts off", async () => {
	await using pair = await createPair({ ldap: false });
	const { a } = pair;
	await a.mailbox.deliver({ to: users });
	const good = statSync(a.path("redolog/redo.log")).size;
	await a.crash({ tornAt: 3 });
	const torn = headerOf(a.path("redolog/redo.log"));
	assert.ok(torn.open && torn.length > good && torn.length < good + 5000);
	await a.boot({ zimbra: true });
	const [archive = ""] = archives(a);
	const after = headerOf(archive);
	assert.ok(after.length < torn.length + 400, "only commit records came behind the cut");
	assert.equal(opcodes(archive).at(-1), op.commit);
});

test("a start soon after the last commit carries the last seconds out again, and a copy loses its file", async () => {
	await using pair = await createPair({ ldap: false });
	const { a } = pair;
	const [, mail] = await a.mailbox.deliver({ to: [user1] });
	await a.mailbox.copy(user1, [mail?.item ?? 0], 5);
	await a.mustRun("mysql", "-e", "FLUSH ENGINE LOGS");
	await a.crashMailboxd();
	const before = await a.dumpStore();
	await a.mustRun("zmmailboxdctl", "start");
	const again = a.executions().filter(({ by }) => by === "recovery");
	assert.deepEqual(
		again.map(({ opcode }) => opcode),
		[op.createMailbox, op.createMessage, op.copyItem],
	);
	const differences = compareStores(before, await a.dumpStore());
	assert.match(differences.join("\n"), /fileMissing is true/);
	const ends = recordsIn(archives(a)[0] ?? "").filter(({ opcode }) => opcode === op.commit);
	assert.equal(ends.length, 6, "each transaction has two commits now");
});

test("a clean stop rolls over and leaves an empty closed log of the next sequence", async () => {
	await using pair = await createPair({ ldap: false });
	await pair.a.mailbox.deliver({ to: [user1] });
	await pair.a.stopZimbra();
	const { open, length, sequence } = headerOf(pair.a.path("redolog/redo.log"));
	assert.deepEqual({ open, length, sequence }, { open: false, length: 512, sequence: 1 });
});

test("without a redo.log the next start begins at sequence 0 again", async () => {
	await using pair = await createPair({ ldap: false });
	const { a } = pair;
	await a.mailbox.deliver({ to: [user1] });
	await a.stopZimbra();
	await a.run("rm", a.path("redolog/redo.log"));
	await a.startZimbra();
	assert.equal((await a.mailbox.position()).sequence, 0);
});

test("with Zimbra's own default the log is deleted at rollover", async () => {
	await using pair = await createPair({
		ldap: false,
		zimbraSettings: { zimbraRedoLogDeleteOnRollover: "TRUE" },
	});
	await pair.a.mailbox.deliver({ to: [user1] });
	await pair.a.mailbox.rollover();
	assert.deepEqual(archives(pair.a), []);
	assert.equal((await pair.a.mailbox.position()).sequence, 1);
});

test("a log rolls over by size, when something is logged", async () => {
	await using pair = await createPair({
		ldap: false,
		zimbraSettings: {
			zimbraRedoLogRolloverFileSizeKB: "20",
			zimbraRedoLogRolloverMinFileAge: "0",
		},
	});
	for (let i = 0; i < 20; i++) await pair.a.mailbox.deliver({ to: [user1], size: 3000 });
	assert.equal(archives(pair.a).length, 3);
});

test("a crash of the database loses what it committed since it last wrote its log", async () => {
	await using pair = await createPair({ ldap: false });
	const { a } = pair;
	await a.mustRun("mysql", "-e", "SET GLOBAL innodb_flush_log_at_timeout = 600");
	await a.mailbox.deliver({ to: [user1] });
	await a.mustRun("mysql", "-e", "FLUSH ENGINE LOGS");
	const flushed = await a.dumpStore();
	await a.mailbox.deliver({ to: [user1] });
	await a.crash();
	assert.deepEqual(compareStores(flushed, await a.dumpStore()), []);
});

test("what was acknowledged is in the log, whenever the host dies", async () => {
	await using pair = await createPair({ ldap: false });
	const { a } = pair;
	await a.mailbox.deliver({ to: users });
	const deliveries = Array.from({ length: 200 }, (_, i) =>
		a.mailbox.deliver({ to: [users[i % 3] ?? user1], size: 500 + i * 20 }).catch(() => {}),
	);
	await Promise.race(deliveries.slice(50));
	await a.crash();
	await Promise.all(deliveries);
	const committed = new Set(a.committed().map(({ transaction }) => transaction));
	assert.ok(pair.acknowledged.length > 10);
	for (const { transaction } of pair.acknowledged) assert.ok(committed.has(transaction));
	assert.ok(existsSync(join(a.directory, "executions.tsv")));
});

test("the product's walker finds the same records in the pair's logs as the pair's reader", async () => {
	await using pair = await createPair({ ldap: false });
	const { mailbox } = pair.a;
	const [, first] = await mailbox.deliver({ to: users, size: 3000, rolloverBefore: 2 });
	await mailbox.createFolder(user1, "Projects");
	await mailbox.deliver({ to: [user1], abort: true });
	await mailbox.copy(user1, [first?.item ?? 257], 5);
	await mailbox.markFolderRead(user1, 2);
	const open = await mailbox.begin({ to: [user1] });
	await mailbox.rollover();
	await open.abort();
	for (const path of logsIn(pair.a.path("redolog"))) {
		const bytes = readFileSync(path);
		const walk = new LogWalk(bytesSource(bytes));
		assert.deepEqual(
			[...walk].map(({ offset, opcode, transaction }) => ({ offset, opcode, transaction })),
			[...recordsOf(path)].map(({ record: { opcode, transaction }, offset }) => ({
				offset,
				opcode,
				transaction,
			})),
		);
		assert.deepEqual(walk.end, { kind: "clean", offset: bytes.length });
	}
});
