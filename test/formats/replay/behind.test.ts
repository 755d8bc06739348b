import assert from "node:assert/strict";
import { test } from "node:test";
import { bytesSource } from "../../../src/formats/redolog/cursor.ts";
import {
	type BehindPart,
	findCut,
	lookBehind,
	sortUnreplayed,
	withoutReplayOf,
} from "../../../src/formats/replay/behind.ts";
import { planReplay } from "../../../src/formats/replay/plan.ts";
import { startAt } from "../../../src/formats/replay/replayed-position.ts";
import type { ReplayLog } from "../../../src/formats/replay/scan.ts";
import * as build from "../redolog/build.ts";
import { identity } from "./mirror.ts";

const pause = () => Promise.resolve();
/** Zimbra was started on the mirror a minute after the last of it was received. */
const received = 1_795_443_900_000;
const startedAt = received + 60_000;
const ownTime = Math.floor(startedAt / 1000);

const change = (counter: number, mailboxId = 3) =>
	build.setConfig({ counter, mailboxId }, `section ${counter}`);
const done = (counter: number, mailboxId = 3) => build.commit({ opcode: 46, counter, mailboxId });
const recovered = (counter: number) =>
	build.commit({ opcode: 46, counter, timestamp: startedAt + 10 });
const own = (counter: number, mailboxId: number, opcode = 46) => {
	const head = { counter, mailboxId, time: ownTime, timestamp: startedAt + 1000, opcode };
	return [opcode === 46 ? build.setConfig(head, "own") : build.record(head), build.commit(head)];
};
const id = (counter: number) => `${build.startTime}.${counter}`;

function log(sequence: number, records: readonly Uint8Array[], createTime?: number): ReplayLog {
	const bytes = Buffer.concat([build.header({ sequence, serverId: "server" }), ...records]);
	const header = build.headerFacts(sequence, bytes.length, true);
	return {
		identity: identity(sequence),
		name: "redo.log",
		header: { ...header, createTime: createTime ?? header.createTime },
		source: bytesSource(bytes),
		length: bytes.length,
		closed: false,
		verified: false,
	};
}

const sizeOf = (records: readonly Uint8Array[]) =>
	512 + records.reduce((sum, { length }) => sum + length, 0);

/** Sorts what was received in one log by what stands behind it there, and in logs that Zimbra made. */
async function sorted(
	before: readonly Uint8Array[],
	behind: readonly Uint8Array[],
	later: readonly Uint8Array[][] = [],
	whole = true,
) {
	const end = sizeOf(before);
	const all = log(0, [...before, ...behind]);
	const parts: BehindPart[] = [
		{ log: all, from: end },
		...later.map((records, i) => ({ log: log(1 + i, records, startedAt), from: 512 })),
	];
	const range = { logs: [{ ...all, length: end }], from: startAt(identity(0)) };
	const found = await sortUnreplayed(range, (ids) => lookBehind(parts, ids, whole, pause), pause);
	const ids = (list: typeof found.open) => list.map((operation) => operation.id);
	return {
		recovered: ids(found.recovered),
		open: ids(found.open),
		overtaken: ids(found.overtaken),
		found,
		range,
	};
}

test("what Zimbra's start has committed again is not replayed; what it gave up, and all else, is", async () => {
	const before = [change(1), done(1), change(2), done(2), change(3), done(3), change(4)];
	const gaveUp = build.abort({ opcode: 46, counter: 3, timestamp: startedAt });
	const {
		recovered: executed,
		open,
		overtaken,
		found,
		range,
	} = await sorted(before, [recovered(2), gaveUp, recovered(4)]);
	assert.deepEqual([executed, open, overtaken], [[id(2)], [id(1), id(3)], []]);
	const from = withoutReplayOf(range.from, [...found.recovered, ...found.overtaken]);
	const plan = await planReplay({ ...range, from });
	assert.equal(plan.counts.executed, 2);
	assert.equal(plan.counts.leftOut, 1);
});

test("a mailbox in which Zimbra has worked is not replayed, wherever it has", async () => {
	const before = [change(1, 3), done(1, 3), change(2, 4), done(2, 4), change(3, 5), done(3, 5)];
	const { open, overtaken } = await sorted(before, own(1, 4), [[], own(2, 5)]);
	assert.deepEqual([open, overtaken], [[id(1)], [id(2), id(3)]]);
});

test("housekeeping that Zimbra does by itself in every mailbox keeps none from being replayed", async () => {
	const before = [change(1, 3), done(1, 3)];
	for (const opcode of [11, 45, 55]) {
		const { open } = await sorted(before, own(1, 3, opcode));
		assert.deepEqual(open, [id(1)], `operation ${opcode}`);
	}
});

test("an account that has got another mailbox here, and a mailbox id that has another account, are not replayed", async () => {
	const create = (counter: number, mailboxId: number, account: string) => [
		build.createMailbox({ counter, mailboxId }, account),
		build.commit({ opcode: 7, counter, mailboxId }),
	];
	const before = [
		...create(1, 7, "ann"),
		...create(2, 8, "bob"),
		...create(3, 9, "eve"),
		change(4, 9),
		done(4, 9),
	];
	const head = { counter: 1, mailboxId: 7, time: ownTime, timestamp: startedAt };
	const ownMailbox = [build.createMailbox(head, "bob"), build.commit({ ...head, opcode: 7 })];
	const { open, overtaken } = await sorted(before, ownMailbox);
	assert.deepEqual(
		[open, overtaken],
		[
			[id(3), id(4)],
			[id(1), id(2)],
		],
	);
});

test("where a log of Zimbra's is gone or cannot be read, nothing is replayed as if it had been", async () => {
	const before = [change(1), done(1)];
	assert.deepEqual((await sorted(before, [], [], false)).overtaken, [id(1)]);
	const strange = build.foreign({ opcode: 999, counter: 1 }, 30);
	assert.deepEqual((await sorted(before, [strange])).overtaken, [id(1)]);
	// Half a record at the very end: mailboxd was killed.
	const half = change(9).subarray(0, 40);
	assert.deepEqual((await sorted(before, [half])).open, [id(1)]);
});

test("where the live server's own history goes on behind what was received, nothing is replayed", async () => {
	// As after an initial copy over a mirror that nobody has cleared of its earlier life.
	const { open, overtaken } = await sorted([change(1), done(1)], [change(2, 4), done(2, 4)]);
	assert.deepEqual([open, overtaken], [[], [id(1)]]);
});

test("where Zimbra's start has cut a record that had not come whole is found, whatever it wrote there", () => {
	const whole = [change(1), done(1), change(2), done(2), change(3)];
	const cut = sizeOf(whole);
	const upTo = cut + 700;
	const ask = (behind: readonly Uint8Array[], later: readonly ReplayLog[] = []) =>
		findCut({
			log: log(0, [...whole, ...behind]),
			from: 512,
			upTo,
			later,
			flushedAt: received + 20,
		});
	const next = log(1, [], startedAt + 500);
	const many = Array.from({ length: 20 }, (_, i) => own(i + 1, 4)).flat();
	for (const [behind, later] of [
		[[], []],
		[[recovered(3)], [next]],
		[[recovered(2), recovered(3)], [next]],
		[own(1, 4), []],
		[many, []],
		[[recovered(3), ...many], [next]],
	] as const) {
		assert.deepEqual(ask(behind, later), { sequence: 0, offset: cut }, `${behind.length} records`);
	}
});

test("bytes that something else has changed are not taken for a cut", () => {
	const whole = [change(1), done(1), change(2), done(2)];
	const end = sizeOf(whole);
	const asked = { log: log(0, whole), from: 512, upTo: end, later: [], flushedAt: received };
	assert.equal(findCut(asked), undefined);
	// A record that cannot be read in the middle: Zimbra's start cuts nothing off and leaves the rest.
	const damaged = [change(1), done(1), build.foreign({ opcode: 999, counter: 1 }, 30), done(2)];
	const upTo = sizeOf(damaged);
	assert.equal(findCut({ ...asked, log: log(0, damaged), upTo }), undefined);
});
