import assert from "node:assert/strict";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { test } from "node:test";
import type { Host } from "../pair/host.ts";
import { createPair, type Pair } from "../pair/pair.ts";
import { compareStores } from "../pair/store-dump.ts";
import { until } from "../pair/until.ts";
import {
	caughtUp,
	deliver,
	holds,
	killLoops,
	liveSyncd,
	quickly,
	redologs,
	refused,
	replayed,
	someone,
} from "./support.ts";

test("admin starts Zimbra on the mirror without stop: the loops withdraw, mailboxd is untouched", async () => {
	await using pair = await createPair({ ldap: true, ...quickly });
	const { b } = pair;
	await liveSyncd(b, "start");
	await deliver(pair, 5);
	await caughtUp(pair);
	// LDAP may be exchanged meanwhile: then it exits with 1, or mailboxd finds no directory and ends.
	const started = async () => {
		await b.run("zmcontrol", "start");
		return b.servicePid("mailboxd") !== undefined;
	};
	await until("mailboxd runs", started);
	const mailboxd = b.servicePid("mailboxd");
	await until("the loops are gone", async () => (await b.liveSyncd("status")).code === 3);
	assert.equal(b.servicePid("mailboxd"), mailboxd);
	const said = (await b.liveSyncd("status")).stdout;
	assert.match(said, /CRITICAL redo.*\[(mailboxd-up|log-altered)\]/);
	const before = redologs(b);
	await deliver(pair, 3, 2);
	assert.deepEqual(redologs(b), before, "nothing more is written");
});

test("a loop that withdraws says why, also where it cannot publish that", async () => {
	await using pair = await createPair({ ...quickly });
	const { b } = pair;
	const loop = b.spawnLiveSyncd("loop", "redo");
	await deliver(pair, 1);
	await caughtUp(pair);
	const published = b.path("live_sync/status/redo.json");
	// As on a full disk: what is renamed to it is refused.
	await until("nothing can be published", () => {
		rmSync(published, { recursive: true, force: true });
		try {
			mkdirSync(published);
			return true;
		} catch {
			return false; // just published once more
		}
	});
	const ended = new Promise((resolve) => loop.once("exit", resolve));
	await b.startZimbra();
	assert.equal(await ended, 1);
	const left = readdirSync(b.path("live_sync/status")).filter((name) => name.endsWith(".tmp"));
	assert.deepEqual(left, []);
	const log = readFileSync(b.path("live_sync/log/live_sync.log"), "utf8");
	assert.match(log, /loop withdraws reason=".*two servers may be live/);
});

test("invariant 6: history of our own is described, and put aside only by the explicit flag", async () => {
	await using pair = await createPair({ ldap: true, ...quickly });
	const { a, b } = pair;
	// As the page of 2011 tells: start Zimbra on the copy, to see that it works. And somebody used it.
	await b.startZimbra();
	await b.mailbox.deliver({ to: [someone] });
	await b.stopZimbra();
	await deliver(pair, 5, 3);
	const said = await refused(b, "divergence");
	assert.match(said, /leaves the live one at 0:512; behind that it has \d operations of its own/);
	assert.match(await liveSyncd(b, "start --set-aside-own-history"), /was put aside in .*done/s);
	await caughtUp(pair);
	await liveSyncd(b, "stop");
	const [aside = ""] = readdirSync(b.path("live_sync/status/aside"));
	const kept = readdirSync(b.path("live_sync/status/aside", aside));
	assert.ok(
		kept.includes("redo.log") && kept.some((name) => name.endsWith("seq0.log")),
		String(kept),
	);
	await deliver(pair, 1);
	assert.ok(a.committed().length > 0);
});

test("invariant 6: putting aside history of our own that was cut short by a crash is finished by the next one", async () => {
	await using pair = await createPair({ ...quickly });
	const { b } = pair;
	await b.startZimbra();
	await b.mailbox.deliver({ to: [someone] });
	await b.stopZimbra();
	await deliver(pair, 5, 3);
	const own = [...redologs(b).values()];
	for (const point of ["before-replacement", "after-replacement"]) {
		b.environment.LIVE_SYNC_FAIL_AT = `set-aside:${point}`;
		const { stdout, stderr } = await b.liveSyncd("start", "--set-aside-own-history");
		assert.equal(stderr, "", stdout);
		delete b.environment.LIVE_SYNC_FAIL_AT;
		await refused(b, "log-altered");
	}
	await liveSyncd(b, "start --set-aside-own-history");
	await caughtUp(pair);
	const kept: Buffer[] = [];
	for (const each of readdirSync(b.path("live_sync/status/aside"))) {
		const directory = b.path("live_sync/status/aside", each);
		kept.push(...readdirSync(directory).map((name) => readFileSync(`${directory}/${name}`)));
	}
	for (const log of own) assert.ok(kept.some((each) => each.equals(log)));
	await liveSyncd(b, "kill");
});

/** Planned change of roles: `from` is stopped cleanly, `to` takes over. */

async function switchOver({ from, to }: { from: Host; to: Host }): Promise<void> {
	await from.stopZimbra();
	// The last word of the old live server is the rollover of its clean stop.
	await until("the mirror has all of it", () => holds(to, from, 512));
	await liveSyncd(to, "stop");
	await to.startZimbra();
}

test("roles there and back again, and there once more: every operation once, the stores equal", async () => {
	await using pair: Pair = await createPair({ ldap: true, ...quickly });
	const { a, b } = pair;
	let [live, mirror] = [a, b];
	for (let turn = 0; turn < 3; turn++) {
		await liveSyncd(mirror, "start");
		for (let i = 0; i < 6; i++) {
			await live.mailbox.deliver({ to: i % 3 === 0 ? [someone, "user2@example.net"] : [someone] });
			if (i === 3) await live.mailbox.rollover();
		}
		await switchOver({ from: live, to: mirror });
		[live, mirror] = [mirror, live];
	}
	await liveSyncd(mirror, "start");
	await live.mailbox.deliver({ to: [someone] });
	await until("the mirror has it", () => holds(mirror, live));
	await liveSyncd(mirror, "stop");
	assert.deepEqual(compareStores(await live.dumpStore(), await mirror.dumpStore()), []);
	for (const host of [a, b]) {
		const counts = new Map<string, number>();
		for (const { transaction } of host.executions()) {
			counts.set(transaction, (counts.get(transaction) ?? 0) + 1);
		}
		const twice = [...counts].filter(([, count]) => count !== 1);
		assert.deepEqual(twice, [], `executed more than once on ${host.name}`);
	}
});

test("stop on a server that has been live since it was a mirror replays nothing of its own history", async () => {
	await using pair = await createPair({ ...quickly });
	const { a, b } = pair;
	await liveSyncd(b, "start");
	await deliver(pair, 2);
	await caughtUp(pair);
	await switchOver({ from: a, to: b });
	await b.mailbox.deliver({ to: [someone] });
	await b.stopZimbra();
	const before = b.executions().length;
	// As it is typed at every failover.
	assert.match(await liveSyncd(b, "stop"), /nothing to replay/);
	assert.equal(b.executions().length, before);
});

test("a mirror on which Zimbra was started without stop, and which was live since: its own logs are not replayed when the roles change back", async () => {
	await using pair = await createPair({ ...quickly });
	const { a, b } = pair;
	await liveSyncd(b, "start");
	await deliver(pair, 3);
	await caughtUp(pair);
	await replayed(pair);
	await a.stopZimbra();
	await until("the mirror has all of it", () => holds(b, a, 512));
	await b.startZimbra();
	await until("the loops are gone", async () => (await b.liveSyncd("status")).code === 3);
	await liveSyncd(a, "start");
	for (let i = 0; i < 3; i++) await b.mailbox.deliver({ to: [someone] });
	await switchOver({ from: b, to: a });
	const before = b.executions().length;
	for (const words of ["start", "start --set-aside-own-history"]) {
		const said = await liveSyncd(b, words, 1);
		assert.match(said, /with no operation behind that.*\n {2}try: .*live-syncd\S* stop/);
	}
	await liveSyncd(b, "stop");
	await liveSyncd(b, "start");
	await a.mailbox.deliver({ to: [someone] });
	await until("the mirror has it", () => holds(b, a));
	await liveSyncd(b, "stop");
	assert.equal(b.executions().length, before + 1);
});

test("a start that was cut short before anything was received, then Zimbra ran here: nothing is guessed", async () => {
	await using pair = await createPair({ ...quickly });
	const { a, b } = pair;
	const position = b.path("live_sync/status/replayed.json");
	b.environment.LIVE_SYNC_FAIL_AT = "start:before-loops";
	assert.notEqual((await b.liveSyncd("start")).code, 0);
	delete b.environment.LIVE_SYNC_FAIL_AT;
	assert.ok(existsSync(position));
	assert.match(await liveSyncd(b, "stop", 5), /nothing to replay/);
	b.environment.LIVE_SYNC_FAIL_AT = "start:before-loops";
	assert.notEqual((await b.liveSyncd("start")).code, 0);
	delete b.environment.LIVE_SYNC_FAIL_AT;
	// The live server dies, and this one takes its place; the old one follows it, and comes back.
	await a.stopZimbra();
	cpSync(a.path("redolog"), b.path("redolog"), { recursive: true });
	await b.startZimbra();
	await b.mailbox.deliver({ to: [someone] });
	await b.stopZimbra();
	assert.match(await liveSyncd(b, "stop", 1), /\[position-lost\]\n {2}try: what mends it depends/);
	cpSync(b.path("redolog"), a.path("redolog"), { recursive: true });
	await a.startZimbra();
	await refused(b, "position-lost");
	rmSync(position);
	await liveSyncd(b, "start");
	await a.mailbox.deliver({ to: [someone] });
	await until("the mirror has it", () => holds(b, a));
	await liveSyncd(b, "stop");
	const counts = new Map<string, number>();
	for (const { transaction } of b.executions()) {
		counts.set(transaction, (counts.get(transaction) ?? 0) + 1);
	}
	assert.deepEqual(
		[...counts].filter(([, count]) => count !== 1),
		[],
	);
});

test("stop after Zimbra ran on the mirror without it: its own operations are not executed again", async () => {
	await using pair = await createPair({ ...quickly });
	const { b } = pair;
	await liveSyncd(b, "start");
	await deliver(pair, 2);
	await caughtUp(pair);
	killLoops(b);
	await b.startZimbra();
	await b.mailbox.deliver({ to: [someone] });
	const own = b.executions().filter(({ by }) => by === "mailboxd");
	await b.stopZimbra();
	const { stdout, stderr } = await b.liveSyncd("stop");
	assert.match(stdout, /Zimbra was started here without live-syncd stop/, stderr);
	for (const { transaction } of own) {
		const again = b.executions().filter((each) => each.transaction === transaction);
		assert.equal(again.length, 1, transaction);
	}
});

test("stop remembers that this was a mirror until Zimbra runs here: a second one looks once more", async () => {
	await using pair = await createPair({ ...quickly });
	const { a, b } = pair;
	await liveSyncd(b, "start");
	await deliver(pair, 3);
	await caughtUp(pair);
	assert.match(await liveSyncd(b, "stop"), /Replayed [1-9]\d* operations.*done\n$/s);
	const role = () => JSON.parse(readFileSync(b.path("live_sync/status/role.json"), "utf8"));
	assert.equal(role().role, "mirror");
	assert.match(role().stopped.replayed, /^\d+:\d+$/);
	const again = await liveSyncd(b, "stop");
	assert.match(
		again,
		/Replayed 0 operations, up to .*All that is known of the live server's redo log is here.*done\n$/s,
	);
	assert.doesNotMatch(again, /follows no other one/);
	await a.stopZimbra();
	await b.startZimbra();
	assert.match(await liveSyncd(b, "stop"), /follows no other one: nothing to replay\ndone\n$/);
	assert.equal(role().role, "unknown");
});

test("stop on a mirror that has heard nothing of the live server is not done, until the loss is accepted", async () => {
	await using pair = await createPair({ ...quickly });
	const { b } = pair;
	b.environment.LIVE_SYNC_FAIL_AT = "start:before-loops";
	await b.liveSyncd("start");
	delete b.environment.LIVE_SYNC_FAIL_AT;
	await deliver(pair, 6);
	const said = await liveSyncd(b, "stop", 5);
	assert.match(said, /Nothing was received from the live server/);
	assert.match(said, /nothing was heard of it in this server's life as a mirror, since 20/);
	assert.match(said, /live-syncd\S* stop --accept-loss && zmcontrol start\n$/);
	assert.match(await liveSyncd(b, "stop --accept-loss"), /^done$/m);
});
