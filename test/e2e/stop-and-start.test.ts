import assert from "node:assert/strict";
import { readdirSync, renameSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { createPair } from "../pair/pair.ts";
import { op } from "../pair/redo/layouts.ts";
import { until } from "../pair/until.ts";
import {
	assertExecutedOnce,
	assertNothingRuns,
	caughtUp,
	deliver,
	killLoop,
	ldapState,
	liveSyncd,
	loops,
	quick,
	quickly,
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
	const said = await liveSyncd(b, "stop");
	assert.match(said, /\n?live-syncd: 3 operations failed or were set aside/);
	assert.ok(said.includes(b.path("live_sync/status/failed")));
	assert.match(said, /done\n/);
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
	const said = await liveSyncd(b, "stop");
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

test("while stop waits for a replay run it says so, and status does not call that a hang", async () => {
	await using pair = await createPair({ ldap: true, ...quickly });
	const { b } = pair;
	await liveSyncd(b, "start");
	b.replayFaults({ hang: true });
	await deliver(pair, 2);
	await until("a run", async () => (await redoState(b))?.replay.phase === "running");
	killLoop(b, "ldap"); // whose next copy has to wait for this run
	const stop = b.spawnLiveSyncd("stop");
	let said = "";
	stop.stdout?.on("data", (piece: Buffer) => {
		said += piece;
	});
	await until("it says so", () => /Waiting for a replay run to end/.test(said));
	const told = (await redoState(b))?.at.monotonic ?? 0;
	await until("the loop tells how it stands", async () => {
		const state = await redoState(b);
		return state?.phase === "stopped" && state.at.monotonic > told + 2000;
	});
	assert.doesNotMatch((await b.liveSyncd("status")).stdout, /hangs/);
	await liveSyncd(b, "kill");
});

test("stop waits for the LDAP copy with an account that has just been made and has got mail", async () => {
	const settings = { ...quick, ldap_quiet: "12s", ldap_interval: "12s", replay_interval: "1h" };
	await using pair = await createPair({ ldap: true, ...quickly, settings });
	const { a, b } = pair;
	await liveSyncd(b, "start");
	await until("the first copy", async () => (await ldapState(b))?.phase === "watching");
	await a.createAccount("late@example.net");
	await a.mailbox.deliver({ to: ["late@example.net"] });
	await caughtUp(pair);
	const said = await liveSyncd(b, "stop");
	assert.match(said, /Waiting for a copy of LDAP/);
	assert.doesNotMatch(said, /set aside/);
	assertExecutedOnce(pair);
	assert.deepEqual(readdirSync(b.path("live_sync/status/failed")), []);
});

test("stop waits for a replay run as long as that makes progress", async () => {
	const settings = { ...quick, replay_timeout: "4s", service_timeout: "10s" };
	await using pair = await createPair({ ldap: true, ...quickly, settings });
	const { a, b } = pair;
	const player = b.path("bin/zmplayredo");
	renameSync(player, `${player}.real`);
	// Longer than both limits together, the first time.
	const work = `echo "2026-11-23 14:30:55,706 INFO  x" >>${b.path("log/mailbox.log")}; sleep 0.5`;
	const script = `#!/bin/bash\nfor i in {1..36}; do ${work}; done\nmv "$0.real" "$0"\nexec "$0" "$@"\n`;
	writeFileSync(player, script, { mode: 0o755 });
	await liveSyncd(b, "start");
	await deliver(pair, 3);
	await until("a run", async () => (await redoState(b))?.replay.phase === "running");
	// A copy of LDAP with this account is put in use only after the run.
	await a.createAccount("late@example.net");
	await a.mailbox.deliver({ to: ["late@example.net"] });
	await caughtUp(pair);
	const said = await liveSyncd(b, "stop");
	assert.match(said, /Waiting for a replay run to end.*done/s);
	assert.doesNotMatch(said, /set aside/);
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
