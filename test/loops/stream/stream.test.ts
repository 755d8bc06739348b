import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import {
	appendFileSync,
	copyFileSync,
	cpSync,
	existsSync,
	mkdirSync,
	readdirSync,
	readFileSync,
	readlinkSync,
	renameSync,
	rmSync,
	statSync,
	truncateSync,
	writeFileSync,
} from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { PassThrough, Writable } from "node:stream";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { encodeFromMirror } from "../../../src/formats/protocol/messages.ts";
import { chainStep } from "../../../src/formats/redolog/digest-chain.ts";
import { formatHeader, parseHeader } from "../../../src/formats/redolog/header.ts";
import { formatPosition } from "../../../src/formats/redolog/position.ts";
import { serveStream } from "../../../src/loops/sender/serve-stream.ts";
import type { Config } from "../../../src/services/config.ts";
import { writeAt } from "../../../src/services/files.ts";
import {
	headerDigest,
	type Provenance,
	readProvenance,
} from "../../../src/services/redolog/provenance.ts";
import { until } from "../../pair/until.ts";
import { History } from "./history.ts";
import { logFiles, StreamPair } from "./stream-pair.ts";

const samples = join(import.meta.dirname, "../../fixtures/redolog-samples");

/** A history of Zimbra's own making on the live side; the mirror has what it began with. */
function placeSamples(pair: StreamPair, folder: string): void {
	const from = join(samples, folder);
	const { redolog, archive } = pair.live.zimbra;
	copyFileSync(join(from, "redo.log"), join(redolog, "redo.log"));
	for (const name of readdirSync(join(from, "archive"))) {
		if (name.endsWith(".log")) copyFileSync(join(from, "archive", name), join(archive, name));
	}
	const first = readdirSync(archive).sort()[0];
	const bytes = readFileSync(
		first === undefined ? join(redolog, "redo.log") : join(archive, first),
	);
	const header = parseHeader(bytes);
	assert.ok(header);
	// A clean stop leaves 512 bytes, not open: what the initial copy takes along.
	writeFileSync(
		pair.mirror.zimbra.currentLog,
		formatHeader({ ...header, open: false, fileSize: 512 }),
	);
}

/** A live log with one operation, which the mirror has; it goes on to follow. */
async function following(pair: StreamPair, size: number): Promise<History> {
	const history = await History.begin(pair);
	pair.start();
	await history.commit(size);
	await pair.caughtUp();
	return history;
}

for (const folder of ["main", "torn", "crash-pair/after"]) {
	test(`invariant 1: the history in ${folder}, written by Zimbra itself, arrives byte-identical`, async () => {
		await using pair = new StreamPair();
		placeSamples(pair, folder);
		pair.start();
		await pair.caughtUp();
		assertSameLogs(logFiles(pair.mirror), logFiles(pair.live));
	});
}

test("invariant 1: a log that grows while it is followed, and rolls over, arrives byte for byte", async () => {
	await using pair = new StreamPair();
	const history = await History.begin(pair);
	pair.start();
	for (let i = 0; i < 60; i++) {
		await history.commit(200 + ((i * 997) % 5000));
		if (i % 17 === 16) await history.rollover();
	}
	await pair.caughtUp();
	assert.equal(pair.connections, 1, "rollovers need no new connection");
	assert.equal(pair.verified.length, 3);
});

test("invariant 1: a rollover in the first moments after start loses nothing", async () => {
	for (let i = 0; i < 10; i++) {
		await using pair = new StreamPair();
		const history = await History.begin(pair);
		await history.commit(3000);
		pair.start();
		await new Promise((resolve) => setTimeout(resolve, i));
		await history.rollover();
		await history.commit(100);
		await history.rollover();
		await pair.caughtUp();
	}
});

test("invariants 1 and 3: cut at arbitrary bytes, first frames and rollovers included: nothing lost, nothing flushed sent again", async () => {
	await using pair = new StreamPair();
	const history = await History.begin(pair);
	// The first frames of each connection byte by byte, then further in.
	const cuts = Array.from({ length: 150 }, (_, i) => ({
		cutAfter: i < 100 ? i * 7 : 700 + (i - 100) * 397,
	}));
	pair.break(...cuts);
	pair.start();
	for (let i = 0; i < 120; i++) {
		await history.commit(100 + ((i * 7919) % 20_000));
		if (i % 23 === 22) await history.rollover();
	}
	await pair.caughtUp();
	assert.ok(pair.connections > 20, `${pair.connections} connections`);
	assertOnce(pair);
});

/** Each connection asks for what follows the last acknowledged byte, and gets that, without holes. */
function assertOnce(pair: StreamPair): void {
	for (const { position, flushed } of pair.asked) {
		if (flushed === undefined) continue;
		const archived = position.sequence === flushed.sequence + 1 && position.offset === 0;
		if (!archived) assert.equal(formatPosition(position), formatPosition(flushed));
	}
	const sizes = new Map<number, number>();
	for (const { sequence, offset, length } of pair.sent) {
		const known = sizes.get(sequence) ?? 512;
		assert.ok(offset <= known, `a hole in log ${sequence} before ${offset}`);
		sizes.set(sequence, Math.max(known, offset + length));
	}
}

test("invariants 1, 2: after a power loss at any moment it goes on from what was on disk", async () => {
	await using pair = new StreamPair();
	const history = await History.begin(pair);
	for (let i = 0; i < 25; i++) {
		pair.start();
		for (let j = 0; j < 6; j++) await history.commit(50 + ((i * 31 + j * 7) % 9000));
		if (i % 4 === 3) await history.rollover();
		await new Promise((resolve) => setTimeout(resolve, (i * 13) % 40));
		await pair.losePower(async ({ zimbra }) => {
			const record = await readProvenance(zimbra.mirrorMarker);
			const bytes = logFiles(pair.mirror).get("redo.log");
			const header = parseHeader(bytes ?? Buffer.alloc(0));
			if (bytes === undefined || record?.identity.createTime !== header?.createTime) return;
			// Never fsynced: gone, or zeros in its place.
			if (i % 3 > 0) truncateSync(zimbra.currentLog, record?.upTo ?? 512);
			if (i % 3 > 1) appendFileSync(zimbra.currentLog, Buffer.alloc(700));
		});
		assert.deepEqual(pair.problems, []);
	}
	pair.start();
	await pair.caughtUp();
	assertSameLogs(logFiles(pair.mirror), logFiles(pair.live));
});

test("live mailboxd crashes mid-record and truncates on restart: the mirror truncates too", async () => {
	await using pair = new StreamPair();
	const history = await History.begin(pair);
	pair.start();
	for (let i = 0; i < 5; i++) await history.commit(3000);
	history.tear(4292);
	await pair.caughtUp();
	await history.recover();
	for (let i = 0; i < 5; i++) await history.commit(3000);
	await pair.caughtUp();
	await history.rollover();
	await pair.caughtUp();
	assert.equal(pair.connections, 1, "the cut was told on the same connection");
});

for (const megabytes of [1.4, 2.6, 9.5]) {
	test(`live mailboxd dies inside a record of ${megabytes} MB: the mirror cuts at the very byte, and never below it`, async () => {
		await using pair = new StreamPair();
		const cuts: number[] = [];
		pair.onCut = async (_, offset) => {
			cuts.push(offset);
		};
		const history = await following(pair, 3000);
		const times = megabytes < 5 ? 3 : 1;
		for (let i = 0; i < times; i++) {
			await history.commit(700_000);
			await pair.caughtUp();
			const cutAt = statSync(pair.live.zimbra.currentLog).size;
			history.tear(megabytes * 1e6);
			await pair.caughtUp();
			await history.recover();
			await until("the mirror has cut", () => cuts.length > i);
			// What recovery writes there begins with the bytes with which every record begins.
			const beyond = (cuts[i] ?? 0) - cutAt;
			assert.ok(beyond >= 0 && beyond < 46, `cut ${beyond} bytes behind the place of the cut`);
			await history.commit(3000);
			await pair.caughtUp();
		}
		assert.equal(cuts.length, times);
		await history.rollover();
		await pair.caughtUp();
		assertSameLogs(logFiles(pair.mirror), logFiles(pair.live));
	});
}

test("a message torn by a crash comes again to the same place while the mirror is away: it gets the new one", async () => {
	await using pair = new StreamPair();
	const history = await following(pair, 3000);
	const { currentLog } = pair.live.zimbra;
	const cutAt = statSync(currentLog).size;
	await pair.stop();
	await history.commit(9_500_000);
	const message = readFileSync(currentLog).subarray(cutAt);
	truncateSync(currentLog, cutAt + 6_300_000);
	pair.start();
	await pair.caughtUp();
	await pair.stop();
	// Recovery has cut it; the same sender delivers it anew: other ids and times, the same body.
	truncateSync(currentLog, cutAt);
	const header = parseHeader(readFileSync(currentLog));
	assert.ok(header);
	const again = Buffer.from(message);
	again.writeInt32BE(again.readInt32BE(20) ^ 0xff, 20);
	{
		await using file = await open(currentLog, "r+");
		await writeAt(file, 0, formatHeader({ ...header, fileSize: cutAt }));
		await writeAt(file, cutAt, again);
	}
	pair.start();
	await pair.caughtUp();
});

test("a cut below what was replayed, as a sender of 2.0.0 guesses it, is not believed before both sides have compared", async () => {
	await using pair = new StreamPair();
	const told: boolean[] = [];
	pair.onCut = async (_, __, compared) => {
		told.push(compared);
		if (!compared) throw new Error("below what was replayed");
	};
	const history = await following(pair, 3000);
	const before = statSync(pair.live.zimbra.currentLog).size;
	pair.interjection = { kind: "truncate", offset: 600 };
	const { connections } = pair;
	await history.commit(3000);
	await until("both sides compare", () => pair.connections > connections);
	await pair.caughtUp();
	assert.deepEqual(told, [false]);
	assert.deepEqual(pair.problems.map(String), ["Error: below what was replayed"]);
	// Of what was committed meanwhile the link had brought something, or nothing yet.
	assert.ok((pair.asked.at(-1)?.position.offset ?? 0) >= before, "nothing was cut");
	assert.equal(existsSync(pair.mirror.base.aside), false, "nothing was put aside");
	history.tear(4292);
	await pair.caughtUp();
	await pair.stop();
	await history.recover();
	pair.start();
	await pair.caughtUp();
	assert.deepEqual(told, [false, true]);
});

test("a receiver that waits, as in a cut for the lock, says so, and the connection outlives it", async () => {
	await using pair = new StreamPair();
	const { promise: waited, resolve: goOn } = Promise.withResolvers<void>();
	pair.onCut = () => waited;
	pair.mirror = { ...pair.mirror, settings: { ...pair.mirror.settings, link_timeout: 3000 } };
	const history = await History.begin(pair);
	pair.start();
	await history.commit(3000);
	history.tear(4292);
	await pair.caughtUp();
	await history.recover();
	await history.commit(3000);
	const said = () => pair.status.snapshot().problems.map(({ message }) => message);
	await until("it is said", () => said().some((each) => /nothing could be written/.test(each)));
	goOn();
	await pair.caughtUp();
	await until("it is mended", () => said().length === 0);
	assert.equal(pair.connections, 1);
});

test("the torn log and its archive, as Zimbra's own recovery left them: cut while the mirror was away", async () => {
	await using pair = new StreamPair();
	const { redolog, archive, currentLog } = pair.live.zimbra;
	copyFileSync(join(samples, "crash-pair/before/redo.log"), currentLog);
	const header = parseHeader(readFileSync(currentLog));
	assert.ok(header);
	writeFileSync(
		pair.mirror.zimbra.currentLog,
		formatHeader({ ...header, open: false, fileSize: 512 }),
	);
	pair.start();
	await pair.caughtUp();
	await pair.stop();
	rmSync(redolog, { recursive: true });
	mkdirSync(archive, { recursive: true });
	const after = join(samples, "crash-pair/after");
	copyFileSync(join(after, "redo.log"), currentLog);
	cpSync(join(after, "archive"), archive, {
		recursive: true,
		filter: (path) => !path.endsWith(".json"),
	});
	pair.start();
	await pair.caughtUp();
	const saved = readdirSync(pair.mirror.base.aside);
	assert.equal(saved.length, 1, "the tail that was cut is put aside");
	// The good part ends at 74698; what recovery wrote there begins with the same 13 bytes.
	assert.match(saved[0] ?? "", /from-74711/);
});

test("a live crash between header close and rename: the same log grows again under its number", async () => {
	await using pair = new StreamPair();
	const history = await following(pair, 2000);
	const { currentLog, archive } = pair.live.zimbra;
	const bytes = readFileSync(currentLog);
	const header = parseHeader(bytes);
	assert.ok(header);
	// Closed, and then the power went: no rename.
	formatHeader({ ...header, open: false, fileSize: bytes.length }).copy(bytes);
	writeFileSync(currentLog, bytes, { flag: "r+" });
	await pair.caughtUp();
	assert.deepEqual(pair.verified, []);
	await history.recover();
	await history.commit(1000);
	await history.rollover();
	await pair.caughtUp();
	// Recovery executed the operation again and so rolled over by itself, before the one asked for.
	assert.equal(pair.verified.length, 2);
	assert.equal(readdirSync(archive).length, 2);
});

test("rollovers and purge while the mirror was away: it catches up in order", async () => {
	await using pair = new StreamPair();
	const history = await following(pair, 500);
	await pair.stop();
	for (let i = 0; i < 30; i++) {
		await history.commit(4000);
		await history.rollover();
	}
	pair.start();
	await pair.caughtUp();
	const order = pair.verified.map((name) => Number(/seq(\d+)/.exec(name)?.[1]));
	assert.deepEqual(
		order,
		[...order].sort((a, b) => a - b),
	);
	assert.equal(order.length, 30);
});

test("a log that an incremental backup has moved away is found there; a half copied one is not taken", async () => {
	await using pair = new StreamPair();
	const history = await following(pair, 500);
	await pair.stop();
	await history.commit(9000);
	await history.rollover();
	await history.commit(100);
	const { archive, backup } = pair.live.zimbra;
	const [name = ""] = readdirSync(archive);
	const session = join(backup, "sessions/incr-20261123.140000.000/redologs");
	mkdirSync(session, { recursive: true });
	const whole = readFileSync(join(archive, name));
	rmSync(join(archive, name));
	writeFileSync(join(session, name), whole.subarray(0, 4000));
	pair.start();
	const refusal = await pair.refusal();
	assert.equal(refusal.code, "archive-gone");
	assert.match(refusal.message, /redo log 0 is gone/);
	writeFileSync(join(session, name), whole);
	pair.start();
	await history.commit(100);
	await until("it arrives", () => pair.verified.length > 0);
	const [got = ""] = readdirSync(pair.mirror.zimbra.archive);
	assert.equal(got, name);
	assert.ok(readFileSync(join(pair.mirror.zimbra.archive, got)).equals(whole));
});

test("in the moment of a rollover an old log of the next number is not taken for the next one", async () => {
	await using pair = new StreamPair();
	const history = await History.begin(pair);
	const { archive, backup, currentLog } = pair.live.zimbra;
	const header = parseHeader(readFileSync(currentLog));
	assert.ok(header);
	const old = formatHeader({ ...header, sequence: 1, createTime: 1, open: false, fileSize: 512 });
	const session = join(backup, "sessions/full-1/redologs");
	mkdirSync(session, { recursive: true });
	// From before Zimbra began its numbers again.
	const name = "redo-20201123.140000.000-seq1.log";
	writeFileSync(join(archive, name), old);
	writeFileSync(join(session, name), old);
	pair.start();
	await history.commit(500);
	await until("it follows", () => (pair.flushed.at(-1)?.offset ?? 0) > 600);
	const next = join(pair.live.zimbra.redolog, "~tmp-redo-1-seq1.log");
	writeFileSync(next, formatHeader({ ...header, sequence: 1, createTime: Date.now() }));
	const bytes = readFileSync(currentLog);
	formatHeader({ ...header, open: false, fileSize: bytes.length }).copy(bytes);
	writeFileSync(currentLog, bytes);
	renameSync(currentLog, join(archive, "redo-20261123.140000.000-seq0.log"));
	await until("it is archived", () => pair.verified.length > 0);
	// The mirror comes anew in that moment, too.
	await sleep(700);
	await pair.stop();
	pair.start();
	await sleep(300);
	renameSync(next, currentLog);
	await until("the next one", () => pair.flushed.at(-1)?.sequence === 1);
	assert.notEqual(pair.flushed.at(-1)?.createTime, 1);
	assert.ok(pair.flushed.every(({ createTime }) => createTime !== 1));
});

test("an archive that is gone is named, with the way out, and nothing is changed", async () => {
	await using pair = new StreamPair();
	const history = await following(pair, 500);
	await pair.stop();
	for (let i = 0; i < 4; i++) {
		await history.commit(500);
		await history.rollover();
	}
	for (const name of readdirSync(pair.live.zimbra.archive)) {
		if (/seq[01]\.log/.test(name)) rmSync(join(pair.live.zimbra.archive, name));
	}
	const before = logFiles(pair.mirror);
	pair.start();
	const refusal = await pair.refusal();
	assert.equal(refusal.code, "archive-gone");
	assert.match(refusal.message, /redo log 0 to 1 is gone/);
	assertSameLogs(logFiles(pair.mirror), before);
});

for (const side of ["live", "mirror"] as const) {
	test(`a FIFO in the place of the redo.log of the ${side} is refused by its name, with no hang`, async () => {
		await using pair = new StreamPair();
		await History.begin(pair);
		const { currentLog } = pair[side].zimbra;
		rmSync(currentLog);
		execFileSync("mkfifo", [currentLog]);
		pair.start();
		const refusal = await pair.refusal();
		assert.equal(refusal.code, "not-a-file");
		assert.ok(refusal.message.includes(currentLog), refusal.message);
		assert.equal(/live server says/.test(refusal.message), side === "live");
	});
}

test("a link works when something that came over it is on disk, not when the position is accepted", async () => {
	await using pair = new StreamPair();
	const signs: number[] = [];
	pair.onHealthy = () => signs.push(pair.connections);
	const history = await following(pair, 3000);
	await until("it works", () => signs.length > 0);
	// From now on every connection is accepted, and fails when the log is to be archived.
	renameSync(pair.mirror.zimbra.archive, `${pair.mirror.zimbra.archive}.away`);
	await history.rollover();
	await until("it is tried again", () => pair.connections > 5);
	assert.deepEqual([...new Set(signs)], [1]);
	renameSync(`${pair.mirror.zimbra.archive}.away`, pair.mirror.zimbra.archive);
	await pair.caughtUp();
	assert.ok((signs.at(-1) ?? 0) > 1);
});

test("a link over which nothing has to come works when it has stood for a while", async () => {
	await using pair = new StreamPair();
	pair.mirror = { ...pair.mirror, settings: { ...pair.mirror.settings, link_timeout: 500 } };
	const history = await following(pair, 3000);
	await history.stop();
	await pair.caughtUp();
	await pair.stop();
	pair.onFlushed = (position) => pair.status.setFlushed(position);
	let signs = 0;
	pair.onHealthy = () => {
		signs++;
	};
	pair.start();
	await until("it works", () => signs > 0);
	assert.deepEqual(pair.problems, []);
});

test("delete on rollover takes nothing from a connected mirror", async () => {
	await using pair = new StreamPair();
	const history = await History.begin(pair);
	pair.start();
	const bytes: Buffer[] = [];
	for (let i = 0; i < 5; i++) {
		// A log that came and went while nobody looked is beyond help; one that is known is held open.
		await until("it is followed", () => pair.flushed.at(-1)?.sequence === i);
		for (let j = 0; j < 10; j++) await history.commit(10_000);
		await history.rollover();
		for (const name of readdirSync(pair.live.zimbra.archive)) {
			bytes.push(readFileSync(join(pair.live.zimbra.archive, name)));
			rmSync(join(pair.live.zimbra.archive, name));
		}
	}
	const { archive } = pair.mirror.zimbra;
	await until("all arrive", () => readdirSync(archive).length === 5);
	const got = readdirSync(archive)
		.sort((a, b) => Number(/seq(\d+)/.exec(a)?.[1]) - Number(/seq(\d+)/.exec(b)?.[1]))
		.map((name) => readFileSync(join(archive, name)));
	for (const [i, log] of got.entries()) assert.ok(bytes[i]?.equals(log), `log ${i} differs`);
});

for (const bytes of [1000, 100_000, 250_000, 400_000, 2_000_000]) {
	test(`link silently black-holed: the live side ends though the mirror takes none of ${bytes} bytes`, async () => {
		await using pair = new StreamPair();
		const history = await History.begin(pair);
		await history.commit(100);
		const { currentLog } = pair.live.zimbra;
		const header = parseHeader(readFileSync(currentLog));
		assert.ok(header);
		appendFileSync(currentLog, randomBytes(bytes));
		const { serverId, sequence, createTime } = header;
		const nothing = Buffer.alloc(0);
		const input = new PassThrough();
		input.write(
			encodeFromMirror({ kind: "resume", links: [], digest: nothing, previousHeader: nothing }),
		);
		const { promise: stuck, resolve: isStuck } = Promise.withResolvers<void>();
		// Never done with what it was given first.
		const output = new Writable({ write: () => isStuck() });
		const position = { serverId, sequence, createTime, timeline: 1, offset: 0 };
		const served = serveStream(
			{ position, mirror: "127.0.0.2", compression: "zstd" },
			{ config: pair.live, timeline: 1, onReplayed: () => undefined },
			input,
			output,
		);
		await stuck;
		await sleep(200);
		input.end();
		assert.match(await served, /the mirror has closed the stream/);
	});
}

for (const [what, damage] of [
	["a crash left with a hole", (digests: string) => rmSync(digests, { recursive: true })],
	["a disk has damaged", (digests: string) => flip(join(digests, digestsIn(digests)), 8)],
] as const) {
	test(`digests that ${what} do not mislead: the mirror cuts where the live server has cut`, async () => {
		await using pair = new StreamPair();
		const history = await following(pair, 500);
		const grow = async () => {
			for (let i = 0; i < 60; i++) await history.commit(60_000);
			await pair.caughtUp();
		};
		await grow();
		await pair.stop();
		damage(join(pair.mirror.base.base, "status/digests"));
		pair.start();
		await grow();
		const cutAt = readFileSync(pair.live.zimbra.currentLog).length;
		history.tear(4292);
		await pair.caughtUp();
		await pair.stop();
		await history.recover();
		await history.commit(100);
		pair.start();
		await pair.caughtUp();
		const [saved = ""] = readdirSync(pair.mirror.base.aside);
		assert.ok(Number(/from-(\d+)/.exec(saved)?.[1]) >= cutAt, saved);
	});
}

const digestsIn = (directory: string): string => readdirSync(directory)[0] ?? "";

test("digests that cannot be kept, on either side, do not stop the stream", async () => {
	await using pair = new StreamPair();
	for (const { base } of [pair.live, pair.mirror]) {
		writeFileSync(join(base.base, "status/digests"), "no directory");
	}
	const history = await following(pair, 500);
	for (let i = 0; i < 40; i++) await history.commit(60_000);
	await pair.caughtUp();
	await pair.stop();
	pair.start();
	await history.commit(500);
	await history.rollover();
	await pair.caughtUp();
	assert.deepEqual(pair.problems, []);
});

test("invariant 1: a cut while the mirror stands where a digest ends is seen as any other", async () => {
	await using pair = new StreamPair();
	await History.begin(pair);
	const { currentLog } = pair.live.zimbra;
	pair.start();
	const whole = 512 + 2 * chainStep;
	appendFileSync(currentLog, randomBytes(whole - readFileSync(currentLog).length));
	await pair.caughtUp();
	await pair.stop();
	truncateSync(currentLog, whole - 5000);
	appendFileSync(currentLog, randomBytes(20_000));
	pair.start();
	await pair.caughtUp();
});

test("digests of old logs do not add up on the mirror", async () => {
	await using pair = new StreamPair();
	const digests = join(pair.mirror.base.base, "status/digests");
	mkdirSync(digests);
	for (let i = 0; i < 50; i++) writeFileSync(join(digests, `${i}-1.chain`), "");
	const history = await following(pair, 500);
	await history.rollover();
	await pair.caughtUp();
	assert.ok(readdirSync(digests).length <= 16);
});

/**
 * Called before each fsync of a file in the mirror's redolog: what it throws, the fsync throws; what it
 * gives is called when the fsync is done.
 */
async function onSync(
	t: TestContext,
	{ zimbra }: Config,
	look: (path: string, file: FileHandle) => (() => void) | undefined,
): Promise<void> {
	await using file = await open(import.meta.filename);
	const prototype = Object.getPrototypeOf(file) as FileHandle;
	for (const name of ["datasync", "sync"] as const) {
		const original = prototype[name];
		t.mock.method(prototype, name, async function (this: FileHandle) {
			const path = readlinkSync(`/proc/self/fd/${this.fd}`);
			const done = path.startsWith(zimbra.redolog) ? look(path, this) : undefined;
			await original.call(this);
			done?.();
		});
	}
}

/** The provenance record as it stands in the file now; one that is just being written does not count. */
function recordIn(path: string): Provenance {
	const text = readFileSync(path, "latin1");
	const slots = [text.slice(0, 2048), text.slice(2048)].flatMap((slot) => {
		try {
			return [JSON.parse(slot.slice(65).split("\n", 1)[0] ?? "")];
		} catch {
			return [];
		}
	});
	return slots.toSorted((a, b) => b.generation - a.generation)[0].record;
}

test("invariant 2: nothing is acknowledged, nor on record, that no fsync has returned for", async (t) => {
	await using pair = new StreamPair();
	const history = await following(pair, 500);
	const { archive, currentLog, mirrorMarker, redolog } = pair.mirror.zimbra;
	const directories: string[] = [];
	const onDisk = new Map([[0, readFileSync(currentLog).length]]);
	const early: string[] = [];
	const check = (what: string, sequence: number, offset: number, limit: number) => {
		if (offset > limit) early.push(`${what} ${sequence}:${offset}, but on disk ${limit}`);
	};
	await onSync(t, pair.mirror, (path) => {
		if (path === mirrorMarker) {
			const { identity, upTo } = recordIn(path);
			// An empty log is made after its record: its 512 bytes hold nothing that was received.
			check("record", identity.sequence, upTo, onDisk.get(identity.sequence) ?? 512);
			return undefined;
		}
		if (path === archive || path === redolog) directories.push(path);
		if (path !== currentLog) return undefined;
		const bytes = readFileSync(path);
		const { sequence = 0 } = parseHeader(bytes) ?? {};
		return () => onDisk.set(sequence, bytes.length);
	});
	pair.onFlushed = ({ sequence, offset }) => {
		check("acknowledged", sequence, offset, onDisk.get(sequence) ?? 512);
		const { identity, upTo } = recordIn(mirrorMarker);
		if (identity.sequence === sequence) check("acknowledged", sequence, offset, upTo);
	};
	for (let i = 0; i < 30; i++) {
		await history.commit(300 + 5000 * (i % 3));
		if (i % 10 === 9) await history.rollover();
	}
	history.tear(4292);
	await pair.caughtUp();
	await history.recover();
	await history.commit(3000);
	await pair.caughtUp();
	assert.ok(onDisk.size > 3);
	// A log leaves one directory for another, and the next one comes.
	const archived = pair.verified.flatMap(() => [archive, redolog, redolog]);
	assert.deepEqual(directories, archived);
	assert.deepEqual(pair.problems, []);
	assert.deepEqual(early, []);
});

test("invariant 2: an fsync that fails is not tried again; what it was for is fetched anew", async (t) => {
	await using pair = new StreamPair();
	const history = await following(pair, 2000);
	const { currentLog, mirrorMarker } = pair.mirror.zimbra;
	const failed = new Set<FileHandle>();
	const onDisk = new Map<number, number>();
	let [syncs, repeated, together] = [0, 0, 0];
	await onSync(t, pair.mirror, (path, file) => {
		if (path !== currentLog) return undefined;
		if (failed.has(file)) repeated++;
		const { ino, size } = statSync(path);
		if (together > 0) repeated++;
		if ((++syncs * 2654435761) % 2 ** 32 > 2 ** 30) {
			together++;
			return () => {
				together--;
				onDisk.set(ino, size);
			};
		}
		failed.add(file);
		// What a kernel may do: the pages count as clean, and what is read later is what was there before.
		const durable = onDisk.get(ino) ?? recordIn(mirrorMarker).upTo;
		truncateSync(currentLog, Math.min(durable, size));
		truncateSync(currentLog, size);
		throw Object.assign(new Error("i/o error"), { code: "EIO" });
	});
	for (let i = 0; i < 20; i++) {
		await history.commit(3000);
		await pair.caughtUp();
		if (i % 2 === 1) await history.rollover();
	}
	await pair.caughtUp();
	assert.ok(failed.size > 5);
	assert.equal(repeated, 0);
	assert.ok(pair.problems.every((problem) => /i\/o error/.test(String(problem))));
});

test("invariant 6: a header on the disk is one that the record on the disk knows, however fast they follow", async (t) => {
	await using pair = new StreamPair();
	await following(pair, 2000);
	const { currentLog, mirrorMarker } = pair.mirror.zimbra;
	const header = parseHeader(readFileSync(currentLog));
	assert.ok(header);
	const digestNow = () => headerDigest(readFileSync(currentLog).subarray(0, 512));
	let onDisk = digestNow();
	let seen = 0;
	await onSync(t, pair.mirror, (path) => {
		const now = digestNow();
		if (path !== mirrorMarker) return () => (onDisk = now);
		seen++;
		const { headers } = recordIn(mirrorMarker);
		assert.ok(headers.includes(onDisk), "a power loss now would look like a mailboxd");
		return undefined;
	});
	for (let time = 1; time <= 40 || (seen <= 10 && pair.problems.length === 0); time++) {
		const rewritten = formatHeader({ ...header, lastOperationTime: time });
		writeFileSync(pair.live.zimbra.currentLog, rewritten, { flag: "r+" });
		if (time % 4 === 0) appendFileSync(pair.live.zimbra.currentLog, "some bytes");
		await sleep(1);
	}
	await pair.caughtUp();
	assert.deepEqual(pair.problems, []);
});

/** The same files with the same bytes, told by name: a diff of megabytes would take minutes. */
function assertSameLogs(one: Map<string, Buffer>, other: Map<string, Buffer>): void {
	assert.deepEqual([...one.keys()].sort(), [...other.keys()].sort());
	for (const [name, bytes] of one) assert.ok(other.get(name)?.equals(bytes), `${name} differs`);
}

test("invariant 6: bytes that never came from the live server are divergence, and stay as they are", async () => {
	await using pair = new StreamPair();
	const history = await History.begin(pair);
	await history.commit(5000);
	// The mirror's copy went on by itself before it ever followed.
	const own = Buffer.concat([
		readFileSync(pair.live.zimbra.currentLog),
		Buffer.from("own history"),
	]);
	writeFileSync(pair.mirror.zimbra.currentLog, own);
	await history.commit(5000);
	pair.start();
	const refusal = await pair.refusal();
	assert.equal(refusal.code, "divergence");
	assert.ok(readFileSync(pair.mirror.zimbra.currentLog).equals(own));
	assert.equal(await readProvenance(pair.mirror.zimbra.mirrorMarker), undefined);
});

test("invariant 6: a local log longer than the live one is history of its own", async () => {
	await using pair = new StreamPair();
	const history = await History.begin(pair);
	await history.commit(500);
	const own = Buffer.concat([readFileSync(pair.live.zimbra.currentLog), Buffer.alloc(5000, 1)]);
	writeFileSync(pair.mirror.zimbra.currentLog, own);
	pair.start();
	assert.equal((await pair.refusal()).code, "divergence");
	assert.ok(readFileSync(pair.mirror.zimbra.currentLog).equals(own));
});

for (const [what, change] of [
	["has more bytes than were received", (file: string) => appendFileSync(file, "more")],
	["has fewer bytes", (file: string) => truncateSync(file, 600)],
	["has other bytes", (file: string) => flip(file, 700)],
	["has another header", (file: string) => flip(file, 165)],
] as const) {
	test(`invariant 6: a received log that ${what} after a clean end is not touched`, async () => {
		await using pair = new StreamPair();
		await following(pair, 2000);
		await pair.stop();
		change(pair.mirror.zimbra.currentLog);
		const before = readFileSync(pair.mirror.zimbra.currentLog);
		pair.start();
		assert.equal((await pair.refusal()).code, "log-altered");
		assert.ok(readFileSync(pair.mirror.zimbra.currentLog).equals(before));
	});
}

test("invariant 6: a live server with another history, by its timeline, is not followed", async () => {
	await using pair = new StreamPair();
	await following(pair, 2000);
	await pair.stop();
	const before = logFiles(pair.mirror);
	pair.liveTimeline = 2;
	pair.start();
	const refusal = await pair.refusal();
	assert.equal(refusal.code, "divergence");
	assert.match(refusal.message, /follows timeline 1, the live server is on 2/);
	assertSameLogs(logFiles(pair.mirror), before);
});

test("invariant 6: a mirror whose last archive is not the live server's gets no next log", async () => {
	await using pair = new StreamPair();
	const history = await following(pair, 2000);
	await pair.stop();
	await history.rollover();
	const [name = ""] = readdirSync(pair.live.zimbra.archive);
	const archived = readFileSync(join(pair.live.zimbra.archive, name));
	const header = parseHeader(archived) ?? assert.fail();
	// Of the same number and time, as both servers have it when both were live.
	const other = formatHeader({ ...header, lastOperationTime: header.lastOperationTime + 1 });
	writeFileSync(
		join(pair.mirror.zimbra.archive, name),
		Buffer.concat([other, archived.subarray(512)]),
	);
	rmSync(pair.mirror.zimbra.currentLog);
	pair.start();
	assert.equal((await pair.refusal()).code, "divergence");
});

test("a redo.log that a mailboxd has made while there was none is not replaced", async () => {
	await using pair = new StreamPair();
	const history = await following(pair, 2000);
	await history.rollover();
	await history.commit(2000);
	await pair.caughtUp();
	await pair.stop();
	const { currentLog } = pair.mirror.zimbra;
	rmSync(currentLog);
	pair.onAsk = () => writeFileSync(currentLog, "made by a mailboxd");
	pair.start();
	assert.equal((await pair.refusal()).code, "log-altered");
	assert.equal(readFileSync(currentLog, "utf8"), "made by a mailboxd");
});

test("a mailboxd that touches redo.log while it is received: nothing more is written", async () => {
	await using pair = new StreamPair();
	const history = await following(pair, 2000);
	const { currentLog } = pair.mirror.zimbra;
	const moved = `${currentLog}.moved`;
	renameSync(currentLog, moved);
	writeFileSync(currentLog, "another log");
	await history.commit(2000);
	assert.equal((await pair.refusal()).code, "log-altered");
	assert.equal(readFileSync(currentLog, "utf8"), "another log");
});

test("a redo.log that was replaced by a copy of itself: nothing more is written, nor acknowledged", async () => {
	await using pair = new StreamPair();
	const history = await following(pair, 2000);
	const { currentLog } = pair.mirror.zimbra;
	const before = readFileSync(currentLog);
	copyFileSync(currentLog, `${currentLog}.copy`);
	renameSync(`${currentLog}.copy`, currentLog);
	await history.commit(2000);
	await until("it is refused", () => pair.problems.length > 0);
	assert.equal((await pair.refusal()).code, "log-altered");
	assert.ok(readFileSync(currentLog).equals(before));
	assert.ok((pair.flushed.at(-1)?.offset ?? 0) <= before.length);
});

test("a redo.log to which somebody has appended while nothing came from the live server is refused", async () => {
	await using pair = new StreamPair();
	await following(pair, 2000);
	appendFileSync(pair.mirror.zimbra.currentLog, "an operation of our own");
	await until("it is refused", () => pair.problems.length > 0);
	assert.equal((await pair.refusal()).code, "log-altered");
});

test("an archive whose size is not what its header says is sent all the same, when it no longer changes", async () => {
	await using pair = new StreamPair();
	const history = await following(pair, 2000);
	await pair.stop();
	await history.rollover();
	const [name = ""] = readdirSync(pair.live.zimbra.archive);
	appendFileSync(join(pair.live.zimbra.archive, name), "more than the header knows");
	pair.start();
	await pair.caughtUp();
	assert.deepEqual(pair.problems, []);
});

test("a header that a mailboxd has written here is not covered up by the live server's", async () => {
	await using pair = new StreamPair();
	await following(pair, 2000);
	const { currentLog } = pair.mirror.zimbra;
	flip(currentLog, 165);
	const before = readFileSync(currentLog);
	flip(pair.live.zimbra.currentLog, 164);
	await until("it is refused", () => pair.problems.length > 0);
	assert.equal((await pair.refusal()).code, "log-altered");
	assert.ok(readFileSync(currentLog).equals(before));
});

test("a log whose bytes on this disk are not the live server's is kept aside and fetched again, loudly", async () => {
	await using pair = new StreamPair();
	const history = await following(pair, 2000);
	flip(pair.mirror.zimbra.currentLog, 700);
	await history.commit(2000);
	await history.rollover();
	await pair.caughtUp();
	assert.equal(pair.problems.length, 1);
	assert.match(String(pair.problems[0]), /is not the live server's/);
	assert.equal(readdirSync(pair.mirror.base.aside).length, 1);
});

function flip(file: string, at: number): void {
	const bytes = readFileSync(file);
	bytes[at] = (bytes[at] ?? 0) ^ 1;
	writeFileSync(file, bytes, { flag: "r+" });
}
