import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { mailOf } from "../pair/install.ts";
import { createPair } from "../pair/pair.ts";
import { compareStores } from "../pair/store-dump.ts";
import { until } from "../pair/until.ts";
import {
	assertExecutedOnce,
	caughtUp,
	deliver,
	liveSyncd,
	quick,
	quickly,
	redoState,
	replayed,
	someone,
} from "./support.ts";

test("a new account gets mail within the second: its mailbox and mail are on the mirror (LDAP first)", async () => {
	await using pair = await createPair({ ldap: true, ...quickly });
	await liveSyncd(pair.b, "start");
	for (let i = 0; i < 4; i++) {
		const mail = `newcomer${i}@example.net`;
		await pair.a.createAccount(mail);
		await pair.a.mailbox.deliver({ to: [mail, someone] });
	}
	await replayed(pair);
	const state = await redoState(pair.b);
	assert.equal(state?.replay.failedOperations, 0);
	assertExecutedOnce(pair);
	assert.deepEqual(compareStores(await pair.a.dumpStore(), await pair.b.dumpStore()), []);
	await liveSyncd(pair.b, "stop");
});

test("mail to five, cut by a rollover before each of its links in turn, reaches all five", async () => {
	await using pair = await createPair({ ldap: true, accounts: 5, ...quickly });
	await liveSyncd(pair.b, "start");
	const five = [1, 2, 3, 4, 5].map(mailOf);
	for (let link = 0; link < 5; link++) {
		await pair.a.mailbox.deliver({ to: five, size: 5000, rolloverBefore: link });
		// In some of these turns a slice ends between the blob and its links.
		await replayed(pair);
	}
	const store = await pair.b.dumpStore();
	const messages = [...store.values()].filter(({ sha256 }) => sha256 !== undefined);
	assert.equal(messages.length, 25);
	assertExecutedOnce(pair);
	assert.deepEqual(compareStores(await pair.a.dumpStore(), store), []);
	await liveSyncd(pair.b, "stop");
});

test("operations that stay open over rollovers, slices and a stop arrive once, and aborted ones never", async () => {
	await using pair = await createPair({ ldap: true, accounts: 5, ...quickly });
	const { a, b } = pair;
	await liveSyncd(b, "start");
	// In mailboxes of their own: a mailbox is locked while one of its transactions is open.
	const slow = await a.mailbox.begin({ to: [mailOf(4)], size: 4000 });
	const never = await a.mailbox.begin({ to: [mailOf(5)], size: 4000 });
	await deliver(pair, 4, 2);
	await replayed(pair);
	await a.mailbox.rollover();
	await deliver(pair, 2);
	await caughtUp(pair);
	await liveSyncd(b, "stop");
	await deliver(pair, 2, 1);
	await liveSyncd(b, "start");
	await slow.commit();
	await never.abort();
	await deliver(pair, 2);
	await replayed(pair);
	assertExecutedOnce(pair);
	assert.deepEqual(compareStores(await a.dumpStore(), await b.dumpStore()), []);
	await liveSyncd(b, "stop");
});

test("never ahead of the live server's disk: what has just come is replayed by stop, not by the running mirror", async () => {
	const settleMs = 60_000;
	await using pair = await createPair({
		ldap: true,
		...quickly,
		settings: { ...quick, replay_settle: `${settleMs}ms`, replay_interval: "200ms" },
	});
	const { a, b } = pair;
	await liveSyncd(b, "start");
	const began = performance.now();
	await deliver(pair, 3);
	await caughtUp(pair);
	const { offset } = await a.mailbox.position();
	await until("LDAP here covers what has come, and a run could have been made", async () => {
		const { redo, ldap } = JSON.parse((await b.liveSyncd("status", "--json")).stdout);
		return ldap.state.coverage?.offset >= offset && redo.state.flushed?.offset >= offset;
	});
	await sleep(2000);
	const replay = (await redoState(b))?.replay;
	if (performance.now() - began < settleMs) {
		assert.deepEqual([replay?.phase, replay?.runs], ["idle", 0]);
	}
	await liveSyncd(b, "stop");
	assertExecutedOnce(pair);
});
