import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
	readdirSync,
	readFileSync,
	renameSync,
	rmSync,
	truncateSync,
	writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { Position } from "../../../../src/formats/redolog/position.ts";
import { listKept } from "../../../../src/loops/redo/replayer/kept-operations.ts";
import { lookbackOf } from "../../../../src/loops/redo/replayer/look-back.ts";
import { readReplayed } from "../../../../src/loops/redo/replayer/position.ts";
import { now } from "../../../../src/services/clock.ts";
import { takeLock } from "../../../../src/services/lock.ts";
import { ProvenanceFile } from "../../../../src/services/redolog/provenance.ts";
import { readRunRecord, writeRunRecord } from "../../../../src/services/zimbra/run-record.ts";
import { accountFile } from "../../../pair/store/accounts.ts";
import { until } from "../../../pair/until.ts";
import { type Mirror, makeMirror, replayedAt, users } from "./mirror.ts";

const [user1, user2] = users;
const { signal } = new AbortController();

/** Lets `zmprov ga <id>` answer on the mirror as where the account of user2 has not arrived. */
function withoutUser2({ pair: { a, b } }: Mirror): void {
	const [, second] = JSON.parse(readFileSync(a.path(accountFile), "utf8")).accounts;
	const real = b.path("bin/zmprov.real");
	writeFileSync(real, readFileSync(b.path("bin/zmprov")), { mode: 0o755 });
	writeFileSync(
		b.path("bin/zmprov"),
		`#!/bin/sh
case "$*" in
*"ga ${second.id}"*) echo "ERROR: account.NO_SUCH_ACCOUNT (no such account: ${second.id})" >&2; exit 2;;
*" ga "*) echo "zimbraId: $3"; exit 0;;
*) exec "$0.real" "$@";;
esac
`,
		{ mode: 0o755 },
	);
}

test("LDAP first: beyond the LDAP copy, operations of an account that is not there are set aside and named", async () => {
	await using mirror = await makeMirror();
	const { a } = mirror.pair;
	await a.mailbox.deliver({ to: [user1] });
	await mirror.follow();
	mirror.limits.coverage = await a.mailbox.position();
	withoutUser2(mirror);
	await a.mailbox.deliver({ to: [user2] });
	await a.mailbox.deliver({ to: users });
	assert.equal((await mirror.follow()).kind, "up to date");

	const [lot] = readdirSync(mirror.config.base.failed).filter((name) => name.endsWith("set-aside"));
	const directory = join(mirror.config.base.failed, lot ?? "");
	const lines = readFileSync(join(directory, "operations.tsv"), "utf8").trim().split("\n").slice(1);
	const names = lines.map((line) => line.split("\t")[1]);
	assert.deepEqual(names, ["CreateMailbox", "CreateMessage", "CreateMessage"]);
	assert.ok(
		mirror.logged.some(({ msg, accountId }) => /not in the local LDAP/.test(msg) && accountId),
	);
	const missing = (await mirror.differences()).filter((each) => !each.endsWith(": missing"));
	assert.deepEqual(missing, [], "everybody else's mail is there");

	// When the account has come, by command: the kept log has the shared blob too.
	await mirror.pair.b.mustRun("zmplayredo", "--logfiles", join(directory, "redo.log"));
	assert.deepEqual(await mirror.differences(), []);
	assert.deepEqual(mirror.notOnce(), []);
});

test("killed while the files of a run are removed: what was set aside from it stays kept", async () => {
	await using mirror = await makeMirror();
	const { config } = mirror;
	const { a, b } = mirror.pair;
	await a.mailbox.deliver({ to: [user1] });
	await mirror.follow();
	withoutUser2(mirror);
	await a.mailbox.deliver({ to: users });
	mirror.ship();
	const script = join(import.meta.dirname, "replay-process.ts");
	const loop = spawn(process.execPath, [script, b.confFile, "not covered"], {
		env: { ...b.environment, LIVE_SYNC_FAIL_AT: "replay:before-removal" },
		stdio: "inherit",
	});
	await once(loop, "close");
	assert.equal(loop.signalCode, "SIGKILL");
	const position = await replayedAt(mirror);
	const kept = await listKept(config);
	assert.deepEqual(
		kept.map(({ kind }) => kind),
		["set aside"],
	);
	// The removal had begun: it takes one file after the other.
	const [left = ""] = readdirSync(config.base.slices);
	rmSync(join(config.base.slices, left, "stdout"));
	await mirror.follow();
	assert.deepEqual(await replayedAt(mirror), position, "replay does not come back to them");
	assert.deepEqual(await listKept(config), kept);
	assert.deepEqual(readdirSync(config.base.slices), []);
});

test("whether an account is there cannot be asked: nothing is guessed, nothing is replayed", async () => {
	await using mirror = await makeMirror({ settings: { zmprov_command: "/bin/false" } });
	const start = await replayedAt(mirror);
	mirror.limits.coverage = start;
	await mirror.pair.a.mailbox.deliver({ to: [user1] });
	await assert.rejects(mirror.follow(), /whether account .* is there is not known/);
	assert.deepEqual(await replayedAt(mirror), start);
});

for (const [title, row] of [
	["a mailbox that has another id here", "4711\\t$account"],
	["a mailbox id that is another account's here", "3\\tsomebody"],
] as const) {
	test(`${title} stops replay before anything is executed, as critical, until it is gone`, async () => {
		await using mirror = await makeMirror();
		const { a, b } = mirror.pair;
		renameSync(b.path("bin/mysql"), b.path("bin/mysql.real"));
		const answer = `account=$(expr "$*" : ".*IN ('\\([^']*\\)'"); printf "${row}\\n"`;
		writeFileSync(
			b.path("bin/mysql"),
			`#!/bin/sh\ncase "$*" in *account_id*) ${answer};; *) exec "$0.real" "$@";; esac\n`,
			{ mode: 0o755 },
		);
		const start = await replayedAt(mirror);
		await a.mailbox.deliver({ to: [user1] });
		const result = await mirror.follow();
		assert.equal(result.kind, "stopped");
		assert.match(
			result.kind === "stopped" ? result.why : "",
			/mailbox id conflict: account .* here/,
		);
		assert.deepEqual(b.executions(), []);
		assert.deepEqual(await replayedAt(mirror), start);
		assert.equal(mirror.problems.at(-1)?.code, "replay-stopped");
		renameSync(b.path("bin/mysql.real"), b.path("bin/mysql"));
		assert.equal((await mirror.follow()).kind, "up to date");
		assert.deepEqual(mirror.notOnce(), []);
	});
}

test("a mailbox id conflict in the log of a run: critical, position unmoved, not run again", async () => {
	await using mirror = await makeMirror();
	const { a, b } = mirror.pair;
	// Something but replay has made a mailbox here, and the database cannot be asked before the run.
	await b.startZimbra();
	await b.mailbox.deliver({ to: [user2] });
	await b.mustRun("zmmailboxdctl", "stop");
	for (const name of readdirSync(mirror.config.zimbra.archive)) {
		rmSync(join(mirror.config.zimbra.archive, name));
	}
	writeFileSync(b.path("bin/mysql.real"), readFileSync(b.path("bin/mysql")), { mode: 0o755 });
	writeFileSync(
		b.path("bin/mysql"),
		`#!/bin/sh\ncase "$*" in *SELECT*) exit 1;; *) exec "$0.real" "$@";; esac\n`,
		{ mode: 0o755 },
	);
	const start = await replayedAt(mirror);
	await a.mailbox.deliver({ to: [user1] });
	await a.mailbox.deliver({ to: [user2] });
	const result = await mirror.follow();
	assert.equal(result.kind, "stopped");
	assert.match(result.kind === "stopped" ? result.why : "", /mailbox id conflict/);
	assert.deepEqual(await replayedAt(mirror), start);
	assert.equal(mirror.problems.at(-1)?.code, "replay-stopped");
});

test("live cut below what was replayed: what it commits again is left out, once stays once", async () => {
	await using mirror = await makeMirror();
	const { a } = mirror.pair;
	await a.mailbox.deliver({ to: [user1] });
	const open = await a.mailbox.begin({ to: [user1] });
	const before = await a.mailbox.position();
	await open.commit();
	await mirror.follow();
	// Power loss on the live server takes the commit record; its recovery commits the transaction again.
	const { log } = await readReplayed(mirror.config);
	await mirror.replayer.cut({ ...log, sequence: before.sequence }, before.offset, signal);
	truncateSync(mirror.config.zimbra.currentLog, before.offset);
	assert.deepEqual(await replayedAt(mirror), before);
	assert.equal((await readReplayed(mirror.config)).executed.length, 1);
	assert.equal((await mirror.follow()).kind, "up to date");
	assert.deepEqual(mirror.notOnce(), []);
	assert.equal((await readReplayed(mirror.config)).executed.length, 0);
});

test("live cut below where a run began whose loop has died: what that run was given is named", async () => {
	await using mirror = await makeMirror();
	const { a, b } = mirror.pair;
	const open = await a.mailbox.begin({ to: [user1] });
	const before = await a.mailbox.position();
	await open.commit();
	await mirror.follow();
	await a.mailbox.deliver({ to: [user2] });
	mirror.ship();
	b.replayFaults({ dieAfter: 1 });
	await mirror.replayer.replay({ upTo: "everything", signal });
	b.replayFaults({});
	// As the loop that died in the run would have left it: nothing is judged and nothing named yet.
	const { report: _, ...record } = (await readRunRecord(mirror.config)) ?? assert.fail();
	const running = { ...record, phase: "running", unknownEnds: 0, report: undefined } as const;
	await writeRunRecord(mirror.config, running);
	rmSync(mirror.config.base.failed, { recursive: true });
	const { log } = await readReplayed(mirror.config);
	await mirror.replayer.cut(log, before.offset, signal);
	const lots = await listKept(mirror.config);
	assert.deepEqual(
		lots.map(({ kind }) => kind),
		["at risk"],
	);
	assert.ok((lots[0]?.count ?? 0) >= 1);
	assert.deepEqual(await replayedAt(mirror), before);
	assert.equal((await readReplayed(mirror.config)).executed.length, 1);
});

test("live cut of all that a run of unknown end was given: the run is over, and replay goes on", async () => {
	await using mirror = await makeMirror();
	const { a, b } = mirror.pair;
	await a.mailbox.deliver({ to: [user1] });
	await mirror.follow();
	const from = await replayedAt(mirror);
	await a.mailbox.deliver({ to: [user2] });
	mirror.ship();
	b.replayFaults({ dieAfter: 1 });
	assert.equal((await mirror.replayer.replay({ upTo: "everything", signal })).kind, "re-run");
	b.replayFaults({});
	const { log } = await readReplayed(mirror.config);
	await mirror.replayer.cut(log, from.offset + 1, signal);
	assert.equal((await mirror.follow()).kind, "up to date");
	assert.deepEqual(await replayedAt(mirror), await a.mailbox.position());
	assert.equal(await readRunRecord(mirror.config), undefined);
});

test("more logs in which nothing is committed than one run takes: what is behind them is replayed by one stop", async () => {
	await using mirror = await makeMirror();
	const { mailbox } = mirror.pair.a;
	await mailbox.deliver({ to: [user1] });
	await mirror.follow();
	const open = await mailbox.begin({ to: [user2] });
	for (let count = 0; count < 40; count++) assert.ok(await mailbox.rollover());
	await open.commit();
	assert.equal((await mirror.follow()).kind, "up to date");
	assert.deepEqual(await replayedAt(mirror), await mailbox.position());
	assert.deepEqual(mirror.notOnce(), []);
});

test("live cut that takes a change record which was executed here: divergence, nothing changed", async () => {
	await using mirror = await makeMirror();
	const { a } = mirror.pair;
	await a.mailbox.deliver({ to: [user1] });
	const before = await a.mailbox.position();
	await a.mailbox.deliver({ to: [user2] });
	await mirror.follow();
	const end = await replayedAt(mirror);
	const { log } = await readReplayed(mirror.config);
	await assert.rejects(mirror.replayer.cut(log, before.offset, signal), { code: "divergence" });
	assert.deepEqual(await replayedAt(mirror), end);
});

test("invariant 2: bytes that are here and were never flushed are not replayed, not even by stop", async () => {
	await using mirror = await makeMirror();
	const { mailbox } = mirror.pair.a;
	await mailbox.deliver({ to: [user1] });
	await mirror.follow();
	const flushed = await mailbox.position();
	await mailbox.deliver({ to: [user2] });
	const { log: identity } = await readReplayed(mirror.config);
	const record = {
		identity,
		from: 0,
		upTo: flushed.offset,
		digest: "",
		headers: [],
		receiving: true,
	};
	{
		await using provenance = await ProvenanceFile.open(mirror.config.zimbra.mirrorMarker);
		await provenance.update(() => record);
	}
	assert.equal((await mirror.follow()).kind, "up to date");
	assert.deepEqual(await replayedAt(mirror), flushed);
});

test("LDAP first: after a cut of the live log, what came in its place waits until LDAP says something new", async () => {
	await using mirror = await makeMirror();
	const { mailbox } = mirror.pair.a;
	await mailbox.deliver({ to: [user1] });
	await mirror.follow();
	const end = await mailbox.position();
	// Half a record behind it, of which the LDAP loop heard, was cut after a crash.
	const covered = { ...end, offset: end.offset + 1_000_000 };
	mirror.limits.coverage = covered;
	const { log } = await readReplayed(mirror.config);
	await mirror.replayer.cut(log, end.offset, signal);
	await mailbox.deliver({ to: [user2] });
	mirror.ship();
	mirror.limits.settled = await mailbox.position();
	const settled = { upTo: "settled", signal } as const;
	assert.equal((await mirror.replayer.replay(settled)).kind, "up to date");
	assert.deepEqual(await replayedAt(mirror), end);
	mirror.limits.coverage = { ...covered, offset: covered.offset + 1 };
	assert.equal((await mirror.replayer.replay(settled)).kind, "replayed");
	assert.deepEqual(mirror.notOnce(), []);
});

for (const [what, saidOf] of [
	["of a later log", (end: Position) => ({ sequence: end.sequence + 1, offset: 600 })],
	[
		"again, long after the cut",
		(end: Position, afterMs: number) => ({ ...end, offset: end.offset + 1e6, saidAt: afterMs }),
	],
] as const) {
	test(`after a cut of the live log, what LDAP covers is believed where it is said ${what}`, async () => {
		await using mirror = await makeMirror({ settings: { link_timeout: "1s" } });
		const { mailbox } = mirror.pair.a;
		await mailbox.deliver({ to: [user1] });
		await mirror.follow();
		const end = await mailbox.position();
		const said = saidOf(end, now().monotonic);
		mirror.limits.coverage = said;
		const { log } = await readReplayed(mirror.config);
		await mirror.replayer.cut(log, end.offset, signal);
		await mailbox.deliver({ to: [user2] });
		mirror.ship();
		mirror.limits.settled = await mailbox.position();
		if ("saidAt" in said) mirror.limits.coverage = saidOf(end, now().monotonic + 60_000);
		const settled = { upTo: "settled", signal } as const;
		assert.equal((await mirror.replayer.replay(settled)).kind, "replayed");
	});
}

test("whether something behind a place was executed here, or may have been, is known", async () => {
	await using mirror = await makeMirror();
	await mirror.pair.a.mailbox.deliver({ to: [user1] });
	await mirror.follow();
	const { log, offset } = await readReplayed(mirror.config);
	assert.equal(await mirror.replayer.reaches(log, offset), false);
	assert.equal(await mirror.replayer.reaches(log, offset - 1), true);
	assert.equal(await mirror.replayer.reaches({ ...log, createTime: 1 }, offset - 1), false);
});

/** One mail is replayed; then somebody else holds the lock for long. */
async function replayedAndHeld(mirror: Mirror) {
	const { config, log, pair } = mirror;
	await pair.a.mailbox.deliver({ to: [user1] });
	await mirror.follow();
	const end = await replayedAt(mirror);
	const { log: identity } = await readReplayed(config);
	const lock = await takeLock(config.base.lock, { purpose: "a long run", signal, log });
	return { end, identity, lock };
}

test("live cut of what no run has come to: receiving does not wait while another holds the lock", async () => {
	await using mirror = await makeMirror();
	const { end, identity, lock } = await replayedAndHeld(mirror);
	await using _run = lock;
	await mirror.replayer.cut(identity, end.offset, signal);
	assert.deepEqual(await replayedAt(mirror), end);
});

test("live cut below what was replayed waits for the lock, says for whom, and ends with its loop", async () => {
	await using mirror = await makeMirror({ settings: { link_timeout: "500ms" } });
	const { end, identity, lock } = await replayedAndHeld(mirror);
	await using _run = lock;
	const loop = new AbortController();
	const cut = mirror.replayer.cut(identity, end.offset - 1, loop.signal);
	await until("it is told", () => mirror.waits.length > 0);
	assert.match(mirror.waits[0] ?? "", /^process \d+ \(a long run\)$/);
	loop.abort(new Error("the loop ends"));
	await assert.rejects(cut, { message: "the loop ends" });
	assert.equal(mirror.waits.at(-1), undefined);
	assert.deepEqual(await replayedAt(mirror), end);
});

test("row 'promote right after the last commit': when Zimbra's start-up recovery executes nothing again is told", async () => {
	await using mirror = await makeMirror();
	assert.equal(await lookbackOf(mirror.config), undefined);
	const begun = Date.now();
	await mirror.pair.a.mailbox.deliver({ to: [user1] });
	mirror.ship();
	const ends = (await lookbackOf(mirror.config))?.endsAt ?? 0;
	assert.ok(ends >= begun + 10_000 && ends <= Date.now() + 10_001);
});

test("a running mirror replays what has settled every replay_interval, until it is asked to stop", async () => {
	await using mirror = await makeMirror({
		settings: { replay_interval: "300ms", replay_share: "100" },
	});
	const { a } = mirror.pair;
	const stop = new AbortController();
	const running = mirror.replayer.keepReplaying(stop.signal);
	for (let i = 0; i < 3; i++) {
		await a.mailbox.deliver({ to: [user1] });
		mirror.ship();
		const end = await a.mailbox.position();
		mirror.limits.settled = end;
		await until("it is replayed", async () => (await replayedAt(mirror)).offset === end.offset);
	}
	stop.abort();
	await running;
	assert.deepEqual(mirror.notOnce(), []);
	assert.deepEqual(await mirror.differences(), []);
});

test("a running mirror whose database cannot start tries again later, and says so", async () => {
	await using mirror = await makeMirror({
		settings: { replay_interval: "300ms", replay_share: "100" },
	});
	const { a, b } = mirror.pair;
	b.startFails("mysql", true);
	await a.mailbox.deliver({ to: [user1] });
	mirror.ship();
	mirror.limits.settled = await a.mailbox.position();
	const stop = new AbortController();
	const running = mirror.replayer.keepReplaying(stop.signal);
	await until("it is said", () =>
		/mysql did not start/.test(mirror.problems.at(-1)?.message ?? ""),
	);
	assert.equal(mirror.replayer.state.phase, "retrying");
	b.startFails("mysql", false);
	await until("it is mended", async () => mirror.replayer.state.operations > 0);
	stop.abort();
	await running;
	assert.equal(mirror.problems.at(-1), undefined);
	assert.deepEqual(mirror.notOnce(), []);
});

test("a running mirror whose record of a run cannot be read says so, goes on, and replays when it is gone", async () => {
	await using mirror = await makeMirror({
		settings: { replay_interval: "300ms", replay_share: "100" },
	});
	const { a } = mirror.pair;
	await a.mailbox.deliver({ to: [user1] });
	mirror.ship();
	mirror.limits.settled = await a.mailbox.position();
	writeFileSync(mirror.config.base.replayRun, "torn");
	const stop = new AbortController();
	const running = mirror.replayer.keepReplaying(stop.signal);
	await until("it is said", () =>
		/replay-run\.json cannot be read/.test(mirror.problems.at(-1)?.message ?? ""),
	);
	rmSync(mirror.config.base.replayRun);
	await until("it is replayed", () => mirror.replayer.state.operations > 0);
	stop.abort();
	await running;
	assert.deepEqual(mirror.notOnce(), []);
});

test("a running mirror whose log is missing says so as critical, and replays when it is put back", async () => {
	await using mirror = await makeMirror({
		settings: { replay_interval: "300ms", replay_share: "100" },
	});
	const { a, b } = mirror.pair;
	await a.mailbox.deliver({ to: [user1] });
	mirror.ship();
	mirror.limits.settled = await a.mailbox.position();
	const log = b.path("redolog/redo.log");
	renameSync(log, `${log}.aside`);
	const stop = new AbortController();
	const running = mirror.replayer.keepReplaying(stop.signal);
	await until("it is said", () => mirror.problems.at(-1)?.code === "archive-gone");
	assert.equal(mirror.problems.at(-1)?.critical, true);
	renameSync(`${log}.aside`, log);
	await until("it is replayed", () => mirror.replayer.state.operations > 0);
	stop.abort();
	await running;
	assert.equal(mirror.problems.at(-1), undefined);
	assert.deepEqual(mirror.notOnce(), []);
});

test("a position file that is put back while the loop runs may be an old one: nothing is executed by it", async () => {
	await using mirror = await makeMirror({
		settings: { replay_interval: "300ms", replay_share: "100" },
	});
	const { a } = mirror.pair;
	const { replayed } = mirror.config.base;
	const old = readFileSync(replayed);
	await a.mailbox.deliver({ to: [user1] });
	await mirror.follow();
	await a.mailbox.deliver({ to: [user1] });
	mirror.ship();
	mirror.limits.settled = await a.mailbox.position();
	rmSync(replayed);
	const stop = new AbortController();
	const running = mirror.replayer.keepReplaying(stop.signal);
	await until("it is said", () => mirror.problems.at(-1)?.code === "position-lost");
	const executed = mirror.pair.b.executions().length;
	writeFileSync(replayed, old);
	await sleep(12_000);
	stop.abort();
	await running;
	assert.equal(mirror.pair.b.executions().length, executed);
	assert.equal(mirror.problems.at(-1)?.code, "position-lost");
});
