import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
	existsSync,
	mkdirSync,
	readdirSync,
	readFileSync,
	renameSync,
	rmSync,
	writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { readRunRecord } from "../../../../src/services/zimbra/run-record.ts";
import { op } from "../../../pair/redo/layouts.ts";
import { until } from "../../../pair/until.ts";
import { type Mirror, makeMirror, replayedAt, users } from "./mirror.ts";

const [user1, user2] = users;
const { signal } = new AbortController();
const everything = { upTo: "everything", signal } as const;

/** Mail, a copy and an operation on a folder: what a second execution would harm. */
async function delicateHistory({ pair: { a } }: Mirror): Promise<void> {
	const [, first] = await a.mailbox.deliver({ to: [user1] });
	await a.mailbox.deliver({ to: users, size: 4000 });
	await a.mailbox.copy(user1, [first?.item ?? 0], 3);
	await a.mailbox.flag(user1, [first?.item ?? 0], "\\Flagged", true);
	await a.mailbox.deliver({ to: [user2] });
}

/** With how many threads the last run said it works. */
async function threadsOfRun({ config }: Mirror): Promise<number> {
	const record = await readRunRecord(config);
	const said = readFileSync(join(record?.directory ?? "", "stdout"), "utf8");
	return Number(/^Using (\d+) redo player threads$/m.exec(said)?.[1]);
}

/** The lots in status/failed of a kind: its directory and the lines of operations.tsv. */
function lots({ config }: Mirror, kind: string): { directory: string; lines: string[] }[] {
	return readdirSync(config.base.failed)
		.filter((name) => name.endsWith(`-${kind}`))
		.map((name) => {
			const directory = join(config.base.failed, name);
			const text = readFileSync(join(directory, "operations.tsv"), "utf8");
			return { directory, lines: text.trim().split("\n").slice(1) };
		});
}

test("row 'zmplayredo fails': ended before its first file, retried with backoff, position unmoved, said", async () => {
	await using mirror = await makeMirror();
	const start = await replayedAt(mirror);
	await delicateHistory(mirror);
	mirror.ship();
	mirror.pair.b.replayFaults({ exit: 1 });
	const delays: number[] = [];
	for (let i = 0; i < 3; i++) {
		const result = await mirror.replayer.replay(everything);
		assert.equal(result.kind, "retry");
		if (result.kind === "retry") delays.push(result.afterMs);
	}
	assert.deepEqual(delays, [1000, 2000, 4000]);
	assert.deepEqual(await replayedAt(mirror), start);
	assert.equal(mirror.replayer.state.phase, "retrying");
	assert.match(mirror.problems.at(-1)?.message ?? "", /did not begin: zmplayredo exited with 1$/);
	mirror.pair.b.replayFaults({});
	assert.equal((await mirror.follow()).kind, "up to date");
	assert.deepEqual(mirror.notOnce(), []);
	assert.equal(mirror.problems.at(-1), undefined);
});

test("row 'zmplayredo hangs' before its first file: ended, and retried without harm", async () => {
	await using mirror = await makeMirror();
	await delicateHistory(mirror);
	mirror.ship();
	mirror.pair.b.replayFaults({ hang: true });
	const result = await mirror.another({ replay_timeout: 5000 }).replay(everything);
	assert.equal(result.kind, "retry");
	assert.match(result.kind === "retry" ? result.why : "", /no progress for 5 s/);
	assert.equal(existsSync(mirror.config.zimbra.replayPidFile), true, "its pid file is left");
	mirror.pair.b.replayFaults({});
	assert.equal((await mirror.follow()).kind, "up to date");
	assert.deepEqual(mirror.notOnce(), []);
	assert.deepEqual(await mirror.differences(), []);
});

for (const [title, faults, settings] of [
	["dies in the middle", { dieAfter: 4 }, {}],
	["dies in the middle with its shell", { dieAfter: 4, dieWithShell: true }, {}],
	// Long enough for it to come to its middle.
	["hangs in the middle", { hangAfter: 4 }, { replay_timeout: 10_000 }],
] as const) {
	test(`row 'zmplayredo … hangs, leaves a pid file': ${title}: run once more, carefully, and the operations at risk are named`, async () => {
		await using mirror = await makeMirror();
		const start = await replayedAt(mirror);
		await delicateHistory(mirror);
		mirror.ship();
		mirror.pair.b.replayFaults(faults);
		const first = await mirror.another(settings).replay(everything);
		assert.equal(first.kind, "re-run");
		assert.deepEqual(await replayedAt(mirror), start, "position unmoved");
		const [risk] = lots(mirror, "at-risk");
		const named = mirror.pair.a.committed().filter(({ opcode }) => opcode !== op.storeIncomingBlob);
		assert.equal(risk?.lines.length, named.length);
		assert.equal(mirror.states.at(-1)?.operationsAtRisk, named.length);
		assert.ok(
			mirror.logged.some(
				({ msg, named: at }) => /nobody knows/.test(msg) && at === risk?.directory,
			),
		);

		mirror.pair.b.replayFaults({});
		// Another process, as after a restart of the loop: what is at risk is remembered.
		const second = await mirror.another().replay(everything);
		assert.equal(second.kind, "replayed");
		assert.deepEqual(await replayedAt(mirror), await mirror.pair.a.mailbox.position());
		// This database cannot be asked for items, so the copy was left out; its records are kept.
		const [left] = lots(mirror, "left-out");
		assert.deepEqual(
			left?.lines.map((line) => line.split("\t")[1]),
			["CopyItem"],
		);
		await mirror.pair.b.mustRun(
			"zmplayredo",
			"--logfiles",
			join(left?.directory ?? "", "redo.log"),
		);
		// The copy takes what the original bears by now, its flag: that is why it is not done unasked.
		const lost = (await mirror.differences()).filter((each) => !/: tags is/.test(each));
		assert.deepEqual(lost, []);
	});
}

for (const [title, dieAfter, lost] of [
	["is there: left out, and its blob stays", 10, 1],
	["is not there: executed", 4, 0],
] as const) {
	test(`re-run of a part with a copy whose new item ${title}`, async () => {
		await using mirror = await makeMirror({ settings: { replay_threads: "1" } });
		const { b } = mirror.pair;
		await delicateHistory(mirror);
		mirror.ship();
		b.replayFaults({ dieAfter });
		assert.equal((await mirror.replayer.replay(everything)).kind, "re-run");
		b.replayFaults({});
		const items = [...(await b.dumpStore()).values()].map(({ item }) => item);
		letDatabaseTellItems(mirror, items);
		assert.equal((await mirror.replayer.replay(everything)).kind, "replayed");
		assert.equal(lots(mirror, "left-out").length, lost);
		assert.deepEqual(await mirror.differences(), []);
	});
}

test("a re-run that could not be begun is still a careful one when it comes", async () => {
	await using mirror = await makeMirror();
	const { b } = mirror.pair;
	await delicateHistory(mirror);
	mirror.ship();
	b.replayFaults({ dieAfter: 4 });
	assert.equal((await mirror.replayer.replay(everything)).kind, "re-run");
	b.replayFaults({ exit: 1 });
	assert.equal((await mirror.replayer.replay(everything)).kind, "retry");
	assert.equal(lots(mirror, "left-out").length, 0, "it comes again");
	b.replayFaults({});
	assert.equal((await mirror.replayer.replay(everything)).kind, "replayed");
	assert.equal(lots(mirror, "left-out").length, 1);
});

/** The pair's database answers only for mailboxes; lets it answer for the items of one mailbox too. */
function letDatabaseTellItems({ pair: { b } }: Mirror, items: readonly number[]): void {
	const client = b.path("bin/mysql");
	renameSync(client, `${client}.real`);
	const known = items.map((item) => `*"(${item})"*) echo ${item};;`).join("\n");
	writeFileSync(
		client,
		`#!/bin/sh
case "$*" in
*group_id*) echo 1;;
*mail_item*) case "$*" in ${known} esac;;
*) exec "$0.real" "$@";;
esac
`,
		{ mode: 0o755 },
	);
}

test("killed twice in the middle: replay stops in a state of its own, and never runs that slice again", async () => {
	await using mirror = await makeMirror();
	const start = await replayedAt(mirror);
	await delicateHistory(mirror);
	mirror.ship();
	mirror.pair.b.replayFaults({ dieAfter: 2 });
	assert.equal((await mirror.replayer.replay(everything)).kind, "re-run");
	assert.equal(await threadsOfRun(mirror), 50);
	const result = await mirror.replayer.replay(everything);
	assert.equal(result.kind, "stopped");
	assert.equal(await threadsOfRun(mirror), 1, "the second time carefully");
	assert.match(result.kind === "stopped" ? result.hint : "", /at-risk .*replay-run\.json/);
	assert.equal(mirror.replayer.state.phase, "stopped");
	assert.equal(mirror.problems.at(-1)?.code, "replay-stopped");
	const executed = mirror.pair.b.executions().length;
	mirror.pair.b.replayFaults({});
	await mirror.pair.a.mailbox.deliver({ to: [user1] });
	assert.equal((await mirror.follow()).kind, "stopped");
	assert.equal((await mirror.another().replay(everything)).kind, "stopped", "after a restart too");
	assert.equal(mirror.pair.b.executions().length, executed);
	assert.deepEqual(await replayedAt(mirror), start);
});

test("failed operations with exit 0: kept with their blobs first, counted, named; the position moves", async () => {
	await using mirror = await makeMirror();
	await mirror.pair.a.mailbox.deliver({ to: [user1] });
	await mirror.follow();
	mirror.pair.b.replayFaults({ failOpcode: op.createMessage });
	await mirror.pair.a.mailbox.deliver({ to: users, size: 3000 });
	const [, , ...messages] = mirror.pair.a.mailbox.acknowledged;
	const result = await mirror.follow();
	assert.equal(result.kind, "up to date");
	assert.deepEqual(await replayedAt(mirror), await mirror.pair.a.mailbox.position());
	const [failed] = lots(mirror, "failed");
	assert.equal(failed?.lines.length, 3);
	assert.match(failed?.lines[0] ?? "", /\tCreateMessage\t\d+\t2.*\t\d+:\d+$/);
	assert.equal(mirror.replayer.state.failedOperations, 3);
	assert.ok(messages.length > 0);
	assert.notDeepEqual(await mirror.differences(), []);

	// By command, later: the kept log has all that zmplayredo needs.
	mirror.pair.b.replayFaults({});
	await mirror.pair.b.mustRun(
		"zmplayredo",
		"--logfiles",
		join(failed?.directory ?? "", "redo.log"),
	);
	assert.deepEqual(await mirror.differences(), []);
});

for (const threads of [4, 1]) {
	test(`changes of appointments that zmplayredo executes and logs as failed count as executed, beside one that fails (threads ${threads})`, async () => {
		await using mirror = await makeMirror({ settings: { replay_threads: `${threads}` } });
		const { mailbox } = mirror.pair.a;
		const [, first] = await mailbox.deliver({ to: [user1] });
		await mirror.follow();
		mirror.pair.b.replayFaults({
			reminderOpcode: op.createMessage,
			failOpcode: op.copyItem,
		});
		await mailbox.deliver({ to: users, size: 3000 });
		await mailbox.copy(user1, [first?.item ?? 0], 3);
		await mailbox.deliver({ to: [user2] });
		assert.equal((await mirror.follow()).kind, "up to date");
		const log = readFileSync(mirror.config.zimbra.mailboxLog, "utf8");
		const count = (words: RegExp) => log.match(words)?.length ?? 0;
		assert.equal(count(/Unable to execute redo op|Ignoring error during redo log/g), 5);
		assert.equal(count(/^java\.lang\.NullPointerException/gm), 4);
		assert.equal(mirror.replayer.state.failedOperations, 1);
		const [failed, ...others] = lots(mirror, "failed");
		assert.deepEqual(others, []);
		const said = readFileSync(join(failed?.directory ?? "", "messages.txt"), "utf8");
		assert.match(said, /^[^\n]*operation 22 fails, as asked for\n$/);
	});
}

test("invariant 4: failed operations that cannot be kept hold the position back, and are kept once there is room", async () => {
	await using mirror = await makeMirror();
	const { config, pair } = mirror;
	const start = await replayedAt(mirror);
	pair.b.replayFaults({ failOpcode: op.createMessage });
	await pair.a.mailbox.deliver({ to: [user1] });
	mirror.ship();
	renameSync(config.base.failed, `${config.base.failed}.away`);
	writeFileSync(config.base.failed, "no directory");
	await assert.rejects(mirror.replayer.replay(everything), /ENOTDIR|EEXIST/);
	assert.deepEqual(await replayedAt(mirror), start);
	const executed = pair.b.executions().length;
	rmSync(config.base.failed);
	renameSync(`${config.base.failed}.away`, config.base.failed);
	assert.equal((await mirror.follow()).kind, "up to date");
	assert.deepEqual(await replayedAt(mirror), await pair.a.mailbox.position());
	assert.equal(pair.b.executions().length, executed, "the same run, judged again");
	assert.equal(lots(mirror, "failed")[0]?.lines.length, 1);
});

test("row 'mysql or ldap do not start': nothing is run, position unmoved, and the service is named", async () => {
	await using mirror = await makeMirror();
	const start = await replayedAt(mirror);
	await delicateHistory(mirror);
	mirror.ship();
	for (const service of ["ldap", "mysql"] as const) {
		mirror.pair.b.startFails(service, true);
		await assert.rejects(
			mirror.replayer.replay(everything),
			new RegExp(`${service} did not start`),
		);
		mirror.pair.b.startFails(service, false);
	}
	assert.deepEqual(mirror.pair.b.executions(), []);
	assert.deepEqual(await replayedAt(mirror), start);
	assert.equal((await mirror.follow()).kind, "up to date");
	assert.deepEqual(mirror.notOnce(), []);
});

test("a database that dies during the run: nobody knows what it kept, and the position stays", async () => {
	await using mirror = await makeMirror();
	await delicateHistory(mirror);
	await mirror.follow();
	await mirror.pair.a.mailbox.deliver({ to: users });
	const before = await replayedAt(mirror);
	mirror.ship();
	const { b } = mirror.pair;
	const executed = b.executions().length;
	b.replayFaults({ waitAfter: 1 });
	const replaying = mirror.replayer.replay(everything);
	await until("it is in the middle", () => b.executions().length > executed);
	const killed = b.servicePid("mysql") ?? assert.fail();
	process.kill(killed, "SIGKILL");
	await until("the database is gone", () => b.servicePid("mysql") !== killed);
	await b.mustRun("mysql.server", "start");
	b.replayFaults({});
	const result = await replaying;
	assert.notEqual(result.kind, "replayed");
	assert.deepEqual(await replayedAt(mirror), before);
	await mirror.follow();
	assert.deepEqual(await mirror.differences(), []);
});

test("row 'mirror loses power right after a replay run': nothing that was counted as replayed is missing", async () => {
	await using mirror = await makeMirror();
	await delicateHistory(mirror);
	const { b } = mirror.pair;
	// By itself the database is not to write its log meanwhile: that would hide what nobody has flushed.
	await b.mustRun("mysql.server", "start");
	await b.mustRun("mysql", "-e", "SET GLOBAL innodb_flush_log_at_timeout = 2700");
	await mirror.follow();
	await b.crash(); // kill -9 of the database: what it had not flushed is gone
	assert.deepEqual(await replayedAt(mirror), await mirror.pair.a.mailbox.position());
	assert.deepEqual(await mirror.differences(), []);
});

test("a position that was written before a power loss is the only one there is", async () => {
	await using mirror = await makeMirror();
	await delicateHistory(mirror);
	await mirror.follow();
	const text = readFileSync(mirror.config.base.replayed, "utf8");
	writeFileSync(`${mirror.config.base.replayed}.4711.tmp`, text.slice(0, 20)); // torn, never renamed
	assert.equal((await mirror.follow()).kind, "up to date");
	assert.deepEqual(mirror.notOnce(), []);
});

test("runs that could not be begun, or whose loop died before, leave no slices and no lots behind", async () => {
	await using mirror = await makeMirror();
	const { config, pair } = mirror;
	await delicateHistory(mirror);
	mirror.ship();
	const byHand = spawn("bash", ["-c", "exec -a zmplayredo sleep 600"], { stdio: "ignore" });
	try {
		await once(byHand, "spawn");
		writeFileSync(config.zimbra.replayPidFile, `${byHand.pid}\n`);
		for (let i = 0; i < 3; i++) {
			await assert.rejects(mirror.replayer.replay(everything), /has not started runs/);
		}
	} finally {
		byHand.kill("SIGKILL");
	}
	assert.equal(readdirSync(config.base.slices).length, 1, "those of the last attempt");
	rmSync(config.zimbra.replayPidFile);
	// Died when it had kept operations back, before the run was on record.
	const [dead = ""] = readdirSync(config.base.slices);
	mkdirSync(join(config.base.failed, `${dead}-set-aside`));
	assert.equal((await mirror.follow()).kind, "up to date");
	assert.deepEqual(readdirSync(config.base.slices), []);
	assert.deepEqual(readdirSync(config.base.failed), []);
	assert.deepEqual(mirror.notOnce(), []);
	assert.ok(pair.b.executions().length > 0);
});
