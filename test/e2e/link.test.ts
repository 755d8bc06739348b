import assert from "node:assert/strict";
import {
	mkdirSync,
	mkdtempSync,
	readFileSync,
	renameSync,
	rmSync,
	statSync,
	symlinkSync,
	writeFileSync,
} from "node:fs";
import { dirname } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { formatMirrorRecord } from "../../src/formats/protocol/mirror-record.ts";
import { now } from "../../src/services/clock.ts";
import { createPair, type Pair } from "../pair/pair.ts";
import { until } from "../pair/until.ts";
import {
	assertExecutedOnce,
	assertNothingRuns,
	caughtUp,
	deliver,
	following,
	liveSyncd,
	noticed,
	quick,
	quickly,
	redoState,
	replayed,
	tail,
} from "./support.ts";

test("the link cut at arbitrary bytes, twenty times: nothing lost, no process left on the live server", async () => {
	const settings = { ...quick, reconnect_max: "200ms" };
	await using pair = await createPair({ proxy: true, settings });
	const { toA } = pair.links;
	{
		await using _ = await following(pair);
		for (let i = 0; i < 20; i++) {
			const before = toA.connections;
			// From the handshake of ssh up to the middle of the data.
			toA.cutAfter(100 + i * i * 40, i % 4 === 3 ? "toServer" : "toClient");
			if (i % 4 === 3) toA.cut();
			await deliver(pair, 4, 3);
			await until("a new connection", () => toA.connections > before);
		}
		await caughtUp(pair);
		await until("only the living connection is served", () => streams(pair) <= 1);
	}
	await assertNothingRuns(pair);
});

const streams = ({ a }: Pair): number =>
	a.processes().filter(({ command }) => /sync-commands/.test(command)).length;

test("a link that is silently black-holed is noticed within seconds on both sides, and resumed", async () => {
	const settings = { ...quick, ...noticed };
	await using pair = await createPair({ proxy: true, ...quickly, settings });
	const { toA } = pair.links;
	{
		await using _ = await following(pair);
		await deliver(pair, 5);
		await caughtUp(pair);
		toA.blackHole();
		await deliver(pair, 5, 2);
		await until("the mirror notices", async () => {
			const phase = (await redoState(pair.b))?.phase;
			return phase === "waiting" || phase === "connecting";
		});
		await until("the live server's end is gone", () => streams(pair) === 0);
		const state = await redoState(pair.b);
		assert.ok(state?.problems.some(({ message }) => /nothing was heard|ssh/.test(message)));
		toA.cut();
		toA.heal();
		await caughtUp(pair);
	}
	await assertNothingRuns(pair);
});

test("the live host reboots in the middle of a record: the mirror cuts with it and goes on", async () => {
	await using pair = await createPair({ ...quickly });
	await using _ = await following(pair);
	for (const tornAt of [1, 3]) {
		await deliver(pair, 6, 4);
		await pair.a.crash({ tornAt });
		await until("the mirror notices", async () => (await redoState(pair.b))?.phase !== "streaming");
		await pair.a.boot({ zimbra: true });
		await deliver(pair, 4, 3);
		await caughtUp(pair);
	}
});

test("live mailboxd dies inside a message of some MB, its host stays up: the mirror cuts and goes on, each operation once", async () => {
	await using pair = await createPair({ ldap: true, ...quickly });
	const { a, b } = pair;
	await liveSyncd(b, "start");
	for (const tornAt of [2600, 9000]) {
		await deliver(pair, 4);
		await replayed(pair);
		await a.crashMailboxd({ tornAt });
		await caughtUp(pair);
		await a.mustRun("zmmailboxdctl", "start");
		await deliver(pair, 4, 3);
		await caughtUp(pair);
	}
	await replayed(pair);
	await liveSyncd(b, "stop");
	assert.doesNotMatch(readFileSync(b.path("live_sync/log/live_sync.log"), "utf8"), /divergence/);
	assertExecutedOnce(pair);
});

test("a disk of the mirror that fails after the live server has accepted the position is one trouble, not one at each attempt", async (t) => {
	const elsewhere = mkdtempSync("/dev/shm/live-sync-archive-");
	try {
		await using pair = await createPair({ proxy: true, ...quickly });
		const { b } = pair;
		const archive = b.path("redolog/archive");
		if (statSync(elsewhere).dev === statSync(archive).dev) return t.skip("one file system only");
		await using _ = await following(pair);
		await deliver(pair, 3);
		await caughtUp(pair);
		renameSync(archive, `${archive}.real`);
		symlinkSync(elsewhere, archive);
		await deliver(pair, 3, 3);
		const trouble = async () =>
			(await redoState(b))?.problems.find(({ message }) => /EXDEV/.test(message));
		await until("it is said", async () => (await trouble()) !== undefined);
		const since = (await trouble())?.since;
		const asked = () => pair.links.toA.connections;
		const before = asked();
		await until("it is tried again", () => asked() >= before + 4, 40).catch((error: unknown) => {
			throw new Error(`${String(error)}${tail(b)}`);
		});
		assert.equal((await trouble())?.since, since);
		const lines = readFileSync(b.path("live_sync/log/live_sync.log"), "utf8").split("\n");
		const told = lines.filter((line) => / redo: link: |streaming|connecting|waiting/.test(line));
		assert.ok(told.length <= 6, told.join("\n"));
		rmSync(archive);
		renameSync(`${archive}.real`, archive);
		await caughtUp(pair);
		await until("it is over", async () => (await redoState(b))?.problems.length === 0);
	} finally {
		rmSync(elsewhere, { recursive: true });
	}
});

test("the live host dies at each step of a rollover: the mirror has the same files afterwards", async () => {
	await using pair = await createPair({ ...quickly });
	await using _ = await following(pair);
	for (const at of [
		"rollover:checkpoint",
		"rollover:closed",
		"rollover:temporary",
		"rollover:archived",
		"rollover:renamed",
	] as const) {
		await deliver(pair, 3);
		await pair.a.mailbox.dieAt({ at });
		await pair.a.mailbox.rollover().catch(() => undefined);
		await until("mailboxd is dead", () => pair.a.servicePid("mailboxd") === undefined);
		pair.a.mailbox.disconnect();
		await pair.a.mustRun("zmmailboxdctl", "start");
		await deliver(pair, 3);
		await caughtUp(pair);
	}
});

test("catch-up over many archives, in order, also while the live server goes on", async () => {
	await using pair = await createPair({ ...quickly });
	await deliver(pair, 60, 2);
	await using _ = await following(pair);
	await deliver(pair, 20, 3);
	await caughtUp(pair);
});

test("a mirror that is no more, and for which the live server keeps its redo logs, is named in status", async () => {
	const settings = { ...quickly.settings, retention: "0s" };
	await using pair = await createPair({ ldap: true, ...quickly, settings });
	const { a, b } = pair;
	const record = a.path("live_sync/status/mirrors/192.0.2.9.json");
	mkdirSync(dirname(record), { recursive: true });
	writeFileSync(
		record,
		formatMirrorRecord({ version: 1, mirror: "192.0.2.9", replayed: null, at: now() }),
	);
	await liveSyncd(b, "start");
	await until(
		"it is named",
		async () => {
			// The live server is asked when replay has left another log behind.
			await deliver(pair, 1, 1);
			await sleep(500);
			return ((await redoState(b))?.problems ?? []).some(({ message }) =>
				/keeps old redo logs: .*192\.0\.2\.9 has not replayed anything yet.*live-syncd\S* forget/.test(
					message,
				),
			);
		},
		300,
	);
	await liveSyncd(b, "kill");
});
