import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import type { Host } from "../pair/host.ts";
import { canMakeNetwork, withoutNetwork } from "../pair/no-network.ts";
import { createPair } from "../pair/pair.ts";
import { until } from "../pair/until.ts";
import {
	assertExecutedOnce,
	assertNothingRuns,
	begin,
	caughtUp,
	deliver,
	killLoop,
	liveSyncd,
	loops,
	quick,
	quickly,
	redoState,
} from "./support.ts";

const skip = !canMakeNetwork() && "no network namespaces here";

test("invariant 10: the live server is dead and no interface is up here: status, kill, a loop and stop work, and everything is replayed", {
	skip,
}, async () => {
	const settings = { ...quick, replay_interval: "1h" };
	await using pair = await createPair({ ...quickly, settings });
	const { a, b } = pair;
	await liveSyncd(b, "start");
	await deliver(pair, 20, 7);
	await caughtUp(pair);
	tellNothing(b);
	await a.crash();
	await using _none = await withoutNetwork(b);

	await liveSyncd(b, "status");
	killLoop(b, "redo");
	await until("the loop is gone", () => loops(b, "redo").length === 0);
	const loop = begin(b, "loop redo");
	// What the killed loop has published may say the same.
	await until("the loop says what it goes by", () =>
		/neither of server1 .* at the last start it was server2/.test(loop.said()),
	);
	const phase = async () => (await redoState(b))?.phase;
	await until("a loop that waits", async () => (await phase()) === "waiting");
	await liveSyncd(b, "kill");
	await loop.ended;
	assert.match(await liveSyncd(b, "start", 1), /no ssh connection to/);

	// As version 2.0.0 has left it.
	const role = JSON.parse(readFileSync(b.path("live_sync/status/role.json"), "utf8"));
	delete role.local;
	writeFileSync(b.path("live_sync/status/role.json"), JSON.stringify(role));
	await liveSyncd(b, "status", 3);
	await liveSyncd(b, "kill");
	// The loop that was started last has not heard of the live server: what is missing nobody knows.
	const said = await liveSyncd(b, "stop", 5);
	assert.match(said, /Replayed \d+ operations/);
	assert.match(said, /is missing here is not known/);
	assert.match(await liveSyncd(b, "stop --accept-loss"), /^done$/m);
	assertExecutedOnce(pair);
	await assertNothingRuns(pair);
});

/** The configuration of real servers does not say which one is local; of a pair it does, being on one machine. */
function tellNothing(host: Host): void {
	const lines = readFileSync(host.confFile, "utf8").split("\n");
	writeFileSync(host.confFile, lines.filter((line) => !line.startsWith("local=")).join("\n"));
}
