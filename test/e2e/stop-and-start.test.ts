import assert from "node:assert/strict";
import {
	readdirSync,
	readFileSync,
	renameSync,
	rmSync,
	statSync,
	truncateSync,
	writeFileSync,
} from "node:fs";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { bytesSource } from "../../src/formats/redolog/cursor.ts";
import { LogWalk } from "../../src/formats/redolog/walker.ts";
import { createPair, type Pair } from "../pair/pair.ts";
import { op } from "../pair/redo/layouts.ts";
import { until } from "../pair/until.ts";
import {
	assertExecutedOnce,
	assertNothingRuns,
	begin,
	caughtUp,
	deliver,
	killLoop,
	killLoops,
	ldapState,
	liveSyncd,
	loops,
	plays,
	quick,
	quickly,
	rarely,
	redoState,
	someone,
} from "./support.ts";

test("stop says that operations failed, those of the loop and its own, and where they are kept", async () => {
	await using pair = await createPair({ ldap: true, ...quickly });
	const { b } = pair;
	await liveSyncd(b, "start");
	b.replayFaults({ failOpcode: op.createMessage });
	await deliver(pair, 2);
	await until("they failed", async () => (await redoState(b))?.replay.failedOperations === 2);
	await deliver(pair, 1);
	await caughtUp(pair);
	const said = await liveSyncd(b, "stop", 5);
	assert.match(said, /\n?live-syncd: 3 operations failed or were set aside/);
	assert.ok(said.includes(b.path("live_sync/status/failed")));
	assert.doesNotMatch(said, /^done$/m);
	assert.match(await liveSyncd(b, "stop --accept-loss"), /done\n/);
});

test("stop says that mail of an account which is not in LDAP here was set aside", async () => {
	await using pair = await createPair({ ldap: true, ...quickly });
	const { a, b } = pair;
	await liveSyncd(b, "start");
	await deliver(pair, 1);
	await caughtUp(pair);
	killLoop(b, "ldap");
	await a.createAccount("newcomer@example.net");
	await a.mailbox.deliver({ to: ["newcomer@example.net"] });
	await caughtUp(pair);
	await a.crash();
	const said = await liveSyncd(b, "stop", 5);
	assert.match(said, /live-syncd: \d operations failed or were set aside/);
	assert.ok(readdirSync(b.path("live_sync/status/failed")).length > 0);
});

test("stop without anything kept back says nothing of it", async () => {
	await using pair = await createPair({ ldap: true, ...quickly });
	const { b } = pair;
	await liveSyncd(b, "start");
	await deliver(pair, 2);
	await caughtUp(pair);
	assert.doesNotMatch(await liveSyncd(b, "stop"), /failed|aside|nobody knows/);
});

test("the record of the role is damaged: status says so, and stop replays all the same", async () => {
	await using pair = await createPair({ ldap: true, ...quickly });
	const { b } = pair;
	await liveSyncd(b, "start");
	await deliver(pair, 1);
	await caughtUp(pair);
	await liveSyncd(b, "kill");
	const record = b.path("live_sync/status/role.json");
	writeFileSync(record, "{");
	const told = await liveSyncd(b, "status", 3);
	assert.match(told, /^server {4}unknown: the record of its role is damaged$/m);
	assert.match(told, /^CRITICAL server, .*role\.json/m);
	const said = await liveSyncd(b, "stop");
	assert.match(said, /role\.json is damaged.*goes on/);
	assert.match(said, /^done$/m);
	assert.equal(readFileSync(record, "utf8"), "{");
	assertExecutedOnce(pair);

	// What cannot be listed is not "none".
	const failed = b.path("live_sync/status/failed");
	rmSync(failed, { recursive: true, force: true });
	writeFileSync(failed, "");
	assert.match(await liveSyncd(b, "status", 3), /^warning redo, .*failed here is not known: /m);
	assert.match(await liveSyncd(b, "stop", 1), /failed/);
});

/** The live server and the loops die, and nothing is replayed. Gives the path of redo.log here. */
async function receivedOnly(pair: Pair): Promise<string> {
	const { a, b } = pair;
	await liveSyncd(b, "start");
	await deliver(pair, 4);
	await caughtUp(pair);
	await a.crash();
	killLoops(b);
	return b.path("redolog/redo.log");
}

test("what was received and is on the disk no more is a loss: stop names the file", async () => {
	await using pair = await createPair({ ...rarely });
	const { b } = pair;
	const log = await receivedOnly(pair);
	truncateSync(log, statSync(log).size - 300);
	const said = await liveSyncd(b, "stop", 5);
	assert.match(said, /redo\.log has \d+ bytes, \d+ were received: .* is not in the message store/);
});

test("a bit that the disk has turned makes what is behind it look like the rest of a record: stop tells a loss", async () => {
	await using pair = await createPair({ ...rarely });
	const { b } = pair;
	const log = await receivedOnly(pair);
	const bytes = readFileSync(log);
	// In the first record that has such a bit.
	for (let at = 512; !looksTornEarly(bytes); at++) {
		if (at > 512) bytes.writeUInt8(bytes.readUInt8(at - 1) ^ 0x40, at - 1);
		bytes.writeUInt8(bytes.readUInt8(at) ^ 0x40, at);
	}
	writeFileSync(log, bytes);
	const said = await liveSyncd(b, "stop", 5);
	assert.match(said, /redo\.log cannot be read at \d+: what it has there, up to \d+, is not in/);
});

function looksTornEarly(bytes: Buffer): boolean {
	const walk = new LogWalk(bytesSource(bytes));
	const count = [...walk].length;
	return walk.end?.kind === "torn" && count < 3;
}

test("with a clock that is far behind, stop does not say done: Zimbra would execute all of the log again", async () => {
	await using pair = await createPair({ ...quickly });
	const { a, b } = pair;
	await liveSyncd(b, "start");
	await deliver(pair, 2);
	await caughtUp(pair);
	await a.crash();
	await liveSyncd(b, "kill");
	const behind = "const now = Date.now; Date.now = () => now() - 40 * 24 * 3600 * 1000";
	b.environment.NODE_OPTIONS = `--import "data:text/javascript,${encodeURIComponent(behind)}"`;
	const said = await liveSyncd(b, "stop", 1);
	assert.match(
		said,
		/the clock of this server, .*, is far behind .*; then live-syncd\S* stop again/,
	);
	assert.doesNotMatch(said, /not all that was received/);
	delete b.environment.NODE_OPTIONS;
	assert.match(await liveSyncd(b, "stop"), /^done$/m);
	assertExecutedOnce(pair);
});

test("while stop waits for a replay run it says so, and status does not call that a hang", async () => {
	await using pair = await createPair({ ldap: true, ...quickly });
	const { b } = pair;
	await liveSyncd(b, "start");
	b.replayFaults({ hang: true });
	await deliver(pair, 2);
	await until("a run", () => plays(b));
	killLoop(b, "ldap"); // whose next copy has to wait for this run
	const stop = begin(b, "stop");
	await until("it says so", () => /Waiting for a replay run to end/.test(stop.said()));
	const told = (await redoState(b))?.at.monotonic ?? 0;
	await until("the loop tells how it stands", async () => {
		const state = await redoState(b);
		return state?.phase === "stopped" && state.at.monotonic > told + 2000;
	});
	assert.doesNotMatch((await b.liveSyncd("status")).stdout, /hangs/);
	await liveSyncd(b, "kill");
});

test("stop waits for the LDAP copy with an account that has just been made and has got mail", async () => {
	const settings = { ...quick, replay_interval: "1h" };
	await using pair = await createPair({ ldap: true, ...quickly, settings });
	const { a, b } = pair;
	const held = b.path("held");
	const slapcat = `while [ -e ${held} ]; do sleep 0.1; done; PATH=/usr/sbin:/usr/bin:/sbin:/bin exec slapcat "$@"`;
	writeFileSync(b.path("bin/slapcat"), `#!/bin/sh\n${slapcat}\n`, { mode: 0o755 });
	await liveSyncd(b, "start");
	await until("the first copy", async () => (await ldapState(b))?.installed !== undefined);
	writeFileSync(held, "");
	await a.createAccount("late@example.net");
	await a.mailbox.deliver({ to: ["late@example.net"] });
	await caughtUp(pair);
	const stop = begin(b, "stop");
	await until("it waits", () => /Waiting for a copy of LDAP/.test(stop.said()));
	rmSync(held);
	assert.equal(await stop.ended, 0, stop.said());
	assert.doesNotMatch(stop.said(), /set aside/);
	assertExecutedOnce(pair);
	assert.deepEqual(readdirSync(b.path("live_sync/status/failed")), []);
});

test("stop does not wait for a copy of LDAP that can not come: the live log was cut below what is here", async () => {
	const settings = { ...quick, replay_interval: "1h", service_timeout: "1h" };
	await using pair = await createPair({ ldap: true, ...quickly, settings });
	const { a, b } = pair;
	await liveSyncd(b, "start");
	await until("the first copy", async () => (await ldapState(b))?.installed !== undefined);
	await deliver(pair, 3);
	// Behind what recovery executes again, after which it would roll the log over.
	await sleep(3000);
	await a.crashMailboxd({ tornAt: 50 });
	await caughtUp(pair);
	const { size } = statSync(b.path("redolog/redo.log"));
	await until("the copy covers it", async () => (await ldapState(b))?.coverage?.offset === size);
	killLoop(b, "redo");
	await a.mustRun("zmmailboxdctl", "start");
	await until("LDAP is heard of behind the cut", async () => {
		const coverage = (await ldapState(b))?.coverage;
		return coverage !== undefined && coverage.offset < size;
	});
	const stop = begin(b, "stop");
	assert.equal(await stop.ended, 0, stop.said());
	await assertNothingRuns(pair);
});

test("stop waits for a replay run as long as that makes progress", async () => {
	const limitMs = 20_000;
	const limits = { replay_timeout: `${limitMs}ms`, service_timeout: `${limitMs}ms` };
	const settings = { ...quick, ...limits };
	await using pair = await createPair({ ldap: true, ...quickly, settings });
	const { a, b } = pair;
	const player = b.path("bin/zmplayredo");
	renameSync(player, `${player}.real`);
	const works = b.path("works");
	writeFileSync(works, "");
	const work = `echo "2026-11-23 14:30:55,706 INFO  x" >>${b.path("log/mailbox.log")}; sleep 0.5`;
	const script = `while [ -e ${works} ]; do ${work}; done; exec "$0.real" "$@"`;
	writeFileSync(player, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
	await liveSyncd(b, "start");
	await deliver(pair, 3);
	await until("a run", () => plays(b));
	// A copy of LDAP with this account is put in use only after the run.
	await a.createAccount("late@example.net");
	await a.mailbox.deliver({ to: ["late@example.net"] });
	await caughtUp(pair);
	const stop = begin(b, "stop");
	await until("it waits", () => /Waiting for a replay run to end/.test(stop.said()));
	await sleep(limitMs + 5000);
	rmSync(works);
	assert.equal(await stop.ended, 0, stop.said());
	assert.doesNotMatch(stop.said(), /set aside/);
	assertExecutedOnce(pair);
	await assertNothingRuns(pair);
});

test("mysql or ldap do not start: stop says which command to run, and not to start Zimbra; then it goes on", async () => {
	await using pair = await createPair({
		ldap: true,
		...quickly,
		settings: { ...quick, replay_interval: "1h" },
	});
	const { a, b } = pair;
	await liveSyncd(b, "start");
	await deliver(pair, 2);
	await caughtUp(pair);
	await a.crash();
	for (const service of ["mysql", "ldap"] as const) {
		await b.run(service === "mysql" ? "mysql.server" : "ldap", "stop");
		b.startFails(service, true);
		const said = await liveSyncd(b, "stop", 1);
		assert.match(said, /Do not start Zimbra here before live-syncd stop has ended with done/);
		assert.match(said, new RegExp(`${service}.* start by hand, and look into`));
		b.startFails(service, false);
	}
	assert.match(await liveSyncd(b, "stop"), /Replayed [1-9]\d* operations, up to .*done/s);
	assertExecutedOnce(pair);
});

for (const missing of ["ldap", "redo"] as const) {
	test(`start where only the ${missing} loop is missing starts that one, and leaves the other alone`, async () => {
		await using pair = await createPair({ ldap: true, ...quickly });
		const { b } = pair;
		const other = missing === "ldap" ? "redo" : "ldap";
		await liveSyncd(b, "start");
		const stays = loops(b, other);
		assert.equal(stays.length, 1);
		killLoop(b, missing);
		await until("it is gone", () => loops(b, missing).length === 0);
		assert.match(await liveSyncd(b, "start"), /Starting processes\.\.\.done/);
		assert.equal(loops(b, missing).length, 1);
		assert.deepEqual(loops(b, other), stays);
		await deliver(pair, 2);
		await pair.a.createAccount("newcomer@example.net");
		await pair.a.mailbox.deliver({ to: ["newcomer@example.net", someone] });
		await caughtUp(pair);
		await liveSyncd(b, "status");
		await liveSyncd(b, "kill");
	});
}
