import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { DigestChain } from "../../src/formats/redolog/digest-chain.ts";
import { parseHeader } from "../../src/formats/redolog/header.ts";
import { headerDigest, ProvenanceFile } from "../../src/services/redolog/provenance.ts";
import { countExecutions } from "../pair/committed.ts";
import type { Host } from "../pair/host.ts";
import { createPair, type Pair } from "../pair/pair.ts";
import { op } from "../pair/redo/layouts.ts";
import { until } from "../pair/until.ts";
import {
	caughtUp,
	deliver,
	holds,
	killLoops,
	liveSyncd,
	quickly,
	rarely,
	redologs,
	someone,
} from "./support.ts";

/** What the lots of kept operations say of that kind of file, without its first line. */
function keptLines(host: Host, file: string): string[] {
	const failed = host.path("live_sync/status/failed");
	return readdirSync(failed)
		.map((lot) => `${failed}/${lot}/${file}`)
		.filter((path) => existsSync(path))
		.flatMap((path) => readFileSync(path, "utf8").trimEnd().split("\n").slice(1));
}

/** Every operation that came here was executed exactly once, or it was exported and is named. */
function assertOnceOrExported({ a, b }: Pair): void {
	const named = new Set(keptLines(b, "operations.tsv").map((line) => line.split("\t")[0]));
	const done = b.executions().filter(({ result }) => result === "ok");
	const counts = countExecutions(a.committed(), done);
	const wrong = [...counts].filter(([id, count]) => count !== (named.has(id) ? 0 : 1));
	assert.deepEqual(wrong, [], "operations that were neither executed once nor exported");
}

/** The mail of the mirror's night: it is received, it is older than Zimbra's look back, and the live server dies. */
async function diesUnreplayed(pair: Pair): Promise<void> {
	await liveSyncd(pair.b, "start");
	await deliver(pair, 7, 3);
	await pair.a.mailbox.deliver({ to: ["user2@example.net"] });
	await caughtUp(pair);
	await sleep(2500);
	await pair.a.crash();
}

const loopsGone = (host: Host) =>
	until("the loops are gone", async () => (await host.liveSyncd("status")).code === 3);

test("Zimbra started without stop: what is not in the store is named and kept, and stop replays exactly that", async () => {
	await using pair = await createPair({ ...rarely });
	const { b } = pair;
	await diesUnreplayed(pair);
	await b.startZimbra();
	await loopsGone(b);
	const status = (await b.liveSyncd("status")).stdout;
	assert.match(status, /\d+ operations that were received .* are not in the message store/);
	const refused = await liveSyncd(b, "stop", 1);
	assert.match(refused, /started on this mirror without live-syncd stop: \d+ operations/);
	assert.doesNotMatch(refused, /Do not start Zimbra here/);
	// However long Zimbra runs, and whatever it does with its logs.
	await b.mailbox.rollover();
	await b.stopZimbra();
	const archive = b.path("redolog/archive");
	for (const name of readdirSync(archive)) rmSync(`${archive}/${name}`);
	const said = await liveSyncd(b, "stop");
	assert.match(said, /\d+ are replayed now, 0 can not be[\s\S]*done\n$/);
	await b.startZimbra();
	assertOnceOrExported(pair);
	assert.match(await liveSyncd(b, "stop"), /follows no other one: nothing to replay/);
	await b.mailbox.deliver({ to: [someone] });
});

test("Zimbra started without stop takes mail: other mailboxes are replayed, those messages are exported", async () => {
	await using pair = await createPair({ ...rarely });
	const { a, b } = pair;
	await liveSyncd(b, "start");
	for (const user of ["user1", "user2", "user3"]) {
		await a.mailbox.deliver({ to: [`${user}@example.net`] });
	}
	await liveSyncd(b, "stop");
	await liveSyncd(b, "start");
	await deliver(pair, 6, 4);
	await a.mailbox.deliver({
		to: ["user2@example.net", "user3@example.net"],
		text: "Subject: both\n",
	});
	await a.mailbox.deliver({ to: ["user2@example.net"], text: "Subject: alone\n" });
	await caughtUp(pair);
	await sleep(2500);
	await a.crash();
	await b.startZimbra();
	await loopsGone(b);
	await b.mailbox.deliver({ to: ["user2@example.net"], text: "Subject: own\n" });
	const own = b.executions().filter(({ by }) => by === "mailboxd").length;
	await b.stopZimbra();
	const said = await liveSyncd(b, "stop", 5);
	assert.match(said, /mailboxes in which Zimbra has worked here/);
	assert.match(said, /live-syncd\S* stop --accept-loss && zmcontrol start\n$/);
	assertOnceOrExported(pair);
	assert.equal(b.executions().filter(({ by }) => by === "mailboxd").length, own);
	const table = keptLines(b, "messages.tsv");
	assert.equal(table.length, 3, table.join("\n"));
	const lot = readdirSync(b.path("live_sync/status/failed"))[0] ?? "";
	const texts = table.map((line) =>
		readFileSync(b.path("live_sync/status/failed", lot, line.split("\t")[0] ?? ""), "utf8"),
	);
	assert.ok(texts.includes("Subject: both\n") && texts.includes("Subject: alone\n"));
	assert.match(await liveSyncd(b, "stop", 5), /status\/failed/, "it says so until it is accepted");
	assertOnceOrExported(pair);
	assert.match(await liveSyncd(b, "stop --accept-loss"), /^done$/m);
	await b.startZimbra();
	const dump = [...(await b.dumpStore()).values()];
	assert.deepEqual(
		dump.filter(({ fileMissing }) => fileMissing),
		[],
	);
});

test("Zimbra's start executes the newest operations itself and cuts a torn record: stop replays the others", async () => {
	await using pair = await createPair({
		...rarely,
		zimbraSettings: { zimbraRedoLogCrashRecoveryLookbackSec: "3" },
	});
	const { a, b } = pair;
	await liveSyncd(b, "start");
	await deliver(pair, 5);
	await a.mailbox.deliver({ to: [someone, "user2@example.net"] });
	await sleep(3500);
	await deliver(pair, 2);
	await a.mailbox.begin({ to: ["user3@example.net"] });
	await a.crashMailboxd({ tornAt: 20 });
	await until("the torn record is here too", () => holds(b, a, 512));
	const torn = redologs(a).get("redo.log") ?? Buffer.alloc(0);
	await a.crash();
	await b.startZimbra();
	await loopsGone(b);
	const cut = [...redologs(b).values()].every(
		(bytes) => !bytes.subarray(512, torn.length).equals(torn.subarray(512)),
	);
	assert.ok(cut, "Zimbra's start has cut what was torn");
	const recovered = b.executions().filter(({ by }) => by === "recovery").length;
	// The one that had no end, always; on a slow machine the newest ones are too old by now.
	assert.ok(recovered >= 1, `${recovered} operations were executed by the recovery`);
	await b.stopZimbra();
	await liveSyncd(b, "stop");
	assertOnceOrExported(pair);
});

test("Zimbra started without stop where replay had come to the end: there is nothing to replay, and stop says so", async () => {
	await using pair = await createPair({ ldap: true, ...quickly });
	const { a, b } = pair;
	await liveSyncd(b, "start");
	await deliver(pair, 3);
	await caughtUp(pair);
	await until("all is replayed", () => countUnexecuted(pair) === 0);
	await sleep(2500);
	await a.crash();
	killLoops(b);
	await b.startZimbra();
	assert.match(await liveSyncd(b, "stop"), /all that was received is in the message store/);
	await b.stopZimbra();
	assert.match(await liveSyncd(b, "stop"), /nothing to replay/);
	assertOnceOrExported(pair);
});

const countUnexecuted = ({ a, b }: Pair): number =>
	[...countExecutions(a.committed(), b.executions()).values()].filter((count) => count === 0)
		.length;

test("Zimbra started without stop between two logs: its logs count from 0, and stop replays the received ones", async () => {
	await using pair = await createPair({ ...rarely });
	const { a, b } = pair;
	await liveSyncd(b, "start");
	await deliver(pair, 5, 2);
	await a.mailbox.rollover();
	await caughtUp(pair);
	await sleep(2500);
	await a.crash();
	killLoops(b);
	await archivedLast(b);
	await b.startZimbra();
	for (let i = 0; i < 3; i++) {
		await b.mailbox.deliver({ to: ["user3@example.net"] });
		await b.mailbox.rollover();
	}
	await b.stopZimbra();
	// The store knew no mailbox yet: the one that Zimbra made here has the id of user1's on the live server.
	await liveSyncd(b, "stop", 5);
	assertOnceOrExported(pair);
	assert.equal(keptLines(b, "messages.tsv").length, 6);
});

test("stop between two logs leaves a redo log that goes on in number; a start takes it away again", async () => {
	await using pair = await createPair({ ...quickly });
	const { a, b } = pair;
	await liveSyncd(b, "start");
	await deliver(pair, 5, 2);
	await a.mailbox.rollover();
	await caughtUp(pair);
	killLoops(b);
	await archivedLast(b);
	const numbers = () => [...redologs(b).values()].map((bytes) => parseHeader(bytes)?.sequence);
	const before = Math.max(...numbers().map((number) => number ?? -1));
	for (let times = 0; times < 2; times++) {
		await liveSyncd(b, "stop");
		assert.equal(parseHeader(readFileSync(b.path("redolog/redo.log")))?.sequence, before + 1);
	}
	assertOnceOrExported(pair);
	// The live server was there all the time, and goes on with its own next log.
	await liveSyncd(b, "start --check");
	await liveSyncd(b, "start");
	await deliver(pair, 2);
	await a.mailbox.rollover();
	await caughtUp(pair);
	killLoops(b);
	await archivedLast(b);
	await liveSyncd(b, "stop");
	await a.crash();
	await b.startZimbra();
	await b.mailbox.deliver({ to: [someone] });
	const current = parseHeader(readFileSync(b.path("redolog/redo.log")))?.sequence ?? -1;
	assert.equal(current, before + 2);
	assert.match(await liveSyncd(b, "stop"), /Zimbra was started here after live-syncd stop/);
	assertOnceOrExported(pair);
});

/** As the mirror is in the moment in which a log is archived and the next one has not begun. */
async function archivedLast(host: Host): Promise<void> {
	rmSync(host.path("redolog/redo.log"));
	const names = [...redologs(host)].map(([name, bytes]) => ({
		name,
		bytes,
		header: parseHeader(bytes),
	}));
	const [last] = names.sort((x, y) => (y.header?.sequence ?? 0) - (x.header?.sequence ?? 0));
	assert.ok(last?.header !== undefined);
	const chain = new DigestChain();
	chain.update(last.bytes.subarray(512));
	const { sequence, createTime } = last.header;
	await using provenance = await ProvenanceFile.open(host.path("redolog/.live_sync"));
	await provenance.update((known) => {
		assert.ok(known !== undefined);
		return {
			...known,
			identity: { ...known.identity, sequence, createTime },
			upTo: last.bytes.length,
			digest: chain.digest().toString("hex"),
			headers: [headerDigest(last.bytes.subarray(0, 512))],
			receiving: false,
		};
	});
}

test("stop after Zimbra ran without it may be killed in the middle, and Zimbra started again: still once", async () => {
	await using pair = await createPair({ ...rarely });
	const { b } = pair;
	await diesUnreplayed(pair);
	await b.startZimbra();
	await loopsGone(b);
	await b.stopZimbra();
	for (const point of ["stop:before-leaving-out", "replay:before-removal"]) {
		b.environment.LIVE_SYNC_FAIL_AT = point;
		assert.notEqual((await b.liveSyncd("stop")).code, 0, point);
		delete b.environment.LIVE_SYNC_FAIL_AT;
		await b.startZimbra();
		await b.mailbox.deliver({ to: ["user3@example.net"] });
		await b.stopZimbra();
	}
	const { code, stdout, stderr } = await b.liveSyncd("stop");
	assert.ok(code === 0 || code === 5, `${stdout}${stderr}`);
	assertOnceOrExported(pair);
});

test("no loop was there to see it: stop tells what is not in the store, and from then on status does too", async () => {
	await using pair = await createPair({ ...rarely });
	const { b } = pair;
	await liveSyncd(b, "start");
	await deliver(pair, 3);
	await caughtUp(pair);
	await sleep(2500);
	await pair.a.crash();
	killLoops(b);
	await b.startZimbra();
	const told = /between 0:512 and 0:\d+ of its redo log, are not in the message store/;
	assert.match(await liveSyncd(b, "stop", 1), told);
	assert.match((await b.liveSyncd("status")).stdout, told);
	assert.ok(existsSync(b.path("live_sync/status/unreplayed/redo.log")));
	await b.stopZimbra();
	assert.match(await liveSyncd(b, "stop"), /done\n$/);
	assert.ok(!existsSync(b.path("live_sync/status/unreplayed")));
	assertOnceOrExported(pair);
});

test("copies and moves of a mailbox that Zimbra has not touched are replayed once after it ran", async () => {
	await using pair = await createPair({ ...rarely });
	const { a, b } = pair;
	await liveSyncd(b, "start");
	const [mail] = (await a.mailbox.deliver({ to: [someone] })).filter(
		({ opcode }) => opcode === op.createMessage,
	);
	await a.mailbox.createFolder(someone, "kept");
	await a.mailbox.copy(someone, [mail?.item ?? 0], 2);
	await a.mailbox.markFolderRead(someone, 2);
	await deliver(pair, 2);
	await caughtUp(pair);
	await sleep(2500);
	await a.crash();
	await b.startZimbra();
	await loopsGone(b);
	await b.stopZimbra();
	await liveSyncd(b, "stop");
	assertOnceOrExported(pair);
	const missing = [...(await b.dumpStore()).values()].filter(({ fileMissing }) => fileMissing);
	assert.deepEqual(missing, []);
});
