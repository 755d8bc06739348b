import assert from "node:assert/strict";
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { createPair, type Pair } from "../pair/pair.ts";
import { until } from "../pair/until.ts";
import {
	assertExecutedOnce,
	assertNothingRuns,
	begin,
	caughtUp,
	deliver,
	liveSyncd,
	loops,
	quickly,
	replayed,
} from "./support.ts";

/** Both loops, where both are children of that process. */
const childrenOf = ({ b }: Pair, parent: number | undefined): number[] =>
	b
		.processes()
		.filter(({ command, parent: own }) => own === parent && / loop (redo|ldap) /.test(command))
		.map(({ pid }) => pid);

test("start, then the systemd unit: the foreground takes the loops over, and logs to the file too", async () => {
	await using pair = await createPair({ ...quickly });
	const { b } = pair;
	await liveSyncd(b, "start");
	await deliver(pair, 3);
	const before = [...loops(b, "redo"), ...loops(b, "ldap")];
	const unit = begin(b, `--config ${b.confFile}`);
	await until("the loops are its own", () => childrenOf(pair, unit.child.pid).length === 2);
	assert.match(unit.said(), /Taking over from the loops that run here already/);
	const now = [...loops(b, "redo"), ...loops(b, "ldap")];
	assert.deepEqual(new Set(now), new Set(childrenOf(pair, unit.child.pid)));
	assert.deepEqual(
		before.filter((pid) => now.includes(pid)),
		[],
	);
	await until("it streams", () => unit.said().includes("redo: streaming"));
	const [line = ""] = unit.said().match(/^.*redo: streaming.*$/m) ?? [];
	assert.ok(readFileSync(b.path("live_sync/log/live_sync.log"), "utf8").includes(line));
	// Typed once more, by whoever does not know of the unit.
	assert.match(await liveSyncd(b, "start"), /already running/);
	const second = begin(b, `--config ${b.confFile}`);
	assert.equal(await second.ended, 78);
	assert.match(second.said(), /children of process \d+.*\[already-running\]\n {2}try: /s);
	assert.deepEqual(childrenOf(pair, unit.child.pid).length, 2, "the first one goes on");
	await deliver(pair, 3, 2);
	await caughtUp(pair);
	await replayed(pair);
	unit.child.kill("SIGTERM");
	assert.equal(await unit.ended, 0);
	await liveSyncd(b, "stop");
	assertExecutedOnce(pair);
	await assertNothingRuns(pair);
});

test("a foreground that was killed leaves its loops, and the next one takes them over", async () => {
	await using pair = await createPair({ ...quickly });
	const { b } = pair;
	const first = begin(b, `--config ${b.confFile}`);
	await until("both loops run", async () => (await b.liveSyncd("status")).code === 0);
	first.child.kill("SIGKILL");
	// Its loops hold its output open, so that its end is not waited for.
	await until("it is gone", () => first.child.signalCode !== null);
	const next = begin(b, `--config ${b.confFile}`);
	await until("the loops are its own", () => childrenOf(pair, next.child.pid).length === 2);
	next.child.kill("SIGTERM");
	assert.equal(await next.ended, 0);
	await assertNothingRuns(pair);
});

test("the foreground ends with 78 where only a person can mend it, with 1 where the next try may do; start with 1", async () => {
	await using pair = await createPair({ ...quickly, started: false });
	const { b } = pair;
	const end = async () => {
		const { child, ended, said } = begin(b, `--config ${b.confFile}`);
		const code = await ended;
		assert.equal(child.signalCode, null);
		return [code, /\[([\w-]+)\]/.exec(said())?.[1]];
	};
	assert.deepEqual(await end(), [1, "peer-not-live"]);
	const log = b.path("redolog/redo.log");
	renameSync(log, `${log}.away`);
	assert.deepEqual(await end(), [78, "no-initial-copy"]);
	await liveSyncd(b, "start", 1);
	renameSync(`${log}.away`, log);
	const conf = readFileSync(b.confFile, "utf8");
	writeFileSync(b.confFile, `${conf}nonsense="1"\n`);
	assert.deepEqual(await end(), [78, "bad-config"]);
	writeFileSync(b.confFile, conf);
	await pair.a.sshd.stop();
	assert.deepEqual(await end(), [1, undefined]);
});

test("the foreground ends with 78 once Zimbra was started on this server: systemd leaves it alone", async () => {
	await using pair = await createPair({ ...quickly });
	const { b } = pair;
	const unit = begin(b, `--config ${b.confFile}`);
	await until("both loops run", async () => (await b.liveSyncd("status")).code === 0);
	await deliver(pair, 1);
	await caughtUp(pair);
	await until("mailboxd runs", async () => {
		await b.run("zmcontrol", "start");
		return b.servicePid("mailboxd") !== undefined;
	});
	assert.equal(await unit.ended, 78);
	assert.match(unit.said(), /loop withdraws/);
});
