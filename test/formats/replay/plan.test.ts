import assert from "node:assert/strict";
import { test } from "node:test";
import { bytesSource } from "../../../src/formats/redolog/cursor.ts";
import { formatHeader } from "../../../src/formats/redolog/header.ts";
import { keptOperations } from "../../../src/formats/replay/kept-operations.ts";
import {
	committedOperations,
	planReplay,
	type ReplayPlan,
} from "../../../src/formats/replay/plan.ts";
import {
	oldestNeeded,
	parseReplayedPosition,
	startAt,
} from "../../../src/formats/replay/replayed-position.ts";
import { rewind } from "../../../src/formats/replay/rewind.ts";
import { type ReplayLog, type ReplayRange, scanReplay } from "../../../src/formats/replay/scan.ts";
import { blobMemory, ReplayState } from "../../../src/formats/replay/state.ts";
import * as build from "../redolog/build.ts";
import { identity } from "./mirror.ts";
import { materialise, play } from "./player.ts";

const config = (counter: number) => build.setConfig({ counter }, `section ${counter}`);
const done = (counter: number, opcode = 46) => build.commit({ opcode, counter });
const id = (counter: number) => `${build.startTime}.${counter}`;

function log(sequence: number, records: Uint8Array[], more: Partial<ReplayLog> = {}): ReplayLog {
	const bytes = Buffer.concat([build.header({ sequence, serverId: "server" }), ...records]);
	return {
		identity: identity(sequence),
		name: `redo-seq${sequence}.log`,
		header: build.headerFacts(sequence, bytes.length, false),
		source: bytesSource(bytes),
		length: bytes.length,
		closed: true,
		verified: true,
		...more,
	};
}

const open = { closed: false, verified: false };

function filesOf(plan: ReplayPlan, logs: readonly ReplayLog[]): Buffer[] {
	const bytesOf = (sequence: number) => {
		const found = logs.find((one) => one.identity.sequence === sequence) as ReplayLog;
		const bytes = Buffer.alloc(found.length);
		found.source.read(bytes, 0);
		formatHeader(found.header).copy(bytes);
		return bytes;
	};
	return plan.files.map((file) =>
		file.kind === "archive"
			? bytesOf(file.log.identity.sequence)
			: materialise(formatHeader(file.header), file.pieces, (place) => bytesOf(place.sequence)),
	);
}

async function executes(range: ReplayRange): Promise<{ plan: ReplayPlan; executed: string[] }> {
	const plan = await planReplay(range);
	return { plan, executed: play(filesOf(plan, range.logs)).executed };
}

const kinds = (plan: ReplayPlan) => plan.files.map((file) => file.kind);

test("verified archives are given as they are, the log that grows as a slice", async () => {
	const logs = [
		log(0, [config(1), done(1)]),
		log(1, [config(2), done(2)], { verified: false }),
		log(2, [config(3), done(3)], open),
	];
	const { plan, executed } = await executes({ logs, from: startAt(identity(0)) });
	assert.deepEqual(kinds(plan), ["archive", "slice", "slice"]);
	assert.deepEqual(executed, [id(1), id(2), id(3)]);
	assert.equal(plan.counts.executed, 3);
	assert.equal(plan.counts.carriedBytes, 0);
	assert.deepEqual(plan.position.log, identity(2));
});

test("where nothing was committed there is no run, and the position moves on with what is open", async () => {
	const logs = [log(0, [config(1), config(2), build.abort({ opcode: 46, counter: 2 })], open)];
	const { plan } = await executes({ logs, from: startAt(identity(0)) });
	assert.deepEqual(plan.files, []);
	assert.equal(plan.position.offset, logs[0]?.length);
	assert.deepEqual(
		plan.position.open.map((one) => one.id),
		[id(1)],
	);
	assert.equal(plan.counts.aborted, 1);
});

test("a blob of an earlier log is carried in a slice of its own before a whole archive", async () => {
	const logs = [
		log(0, [build.storeIncomingBlob({ counter: 1 }, "/b/1", Buffer.from("x")), done(1, 26)]),
		log(1, [build.linkedMessage({ counter: 2 }, "/b/1"), done(2, 27)]),
	];
	const first = await planReplay({
		logs,
		from: startAt(identity(0)),
		to: { sequence: 0, offset: 9999 },
	});
	const { plan, executed } = await executes({ logs, from: first.position });
	assert.deepEqual(kinds(plan), ["slice", "archive"]);
	assert.deepEqual(executed, [id(2)]);
	assert.equal(oldestNeeded(first.position).sequence, 0);
});

test("a second commit of an ended transaction opens and carries nothing", async () => {
	const logs = [log(0, [config(1), done(1), done(1), config(2), done(2)], open)];
	const length = config(1).length + 50;
	const range = { logs, from: startAt(identity(0)), to: { sequence: 0, offset: 512 + length } };
	const first = await executes(range);
	const second = await executes({ logs, from: first.plan.position });
	assert.deepEqual([first.executed, second.executed], [[id(1)], [id(2)]]);
	assert.equal(second.plan.counts.carriedBytes, 0);
});

test("what the next log does not log again is open no more", async () => {
	const logs = [log(0, [config(1), config(2)]), log(1, [config(2), done(2), config(3)], open)];
	const { plan, executed } = await executes({ logs, from: startAt(identity(0)) });
	assert.deepEqual(executed, [id(2)]);
	assert.deepEqual(
		plan.position.open.map((one) => one.id),
		[id(3)],
	);
	assert.deepEqual(plan.oldestNeeded.sequence, 1);
});

test("a torn tail of an archive is cut off, since the player would search in it", async () => {
	const inside = Buffer.concat([config(66), done(66)]);
	const torn = build.storeIncomingBlob({ counter: 2 }, "/b/2", Buffer.concat([inside, inside]));
	const logs = [log(0, [config(1), done(1), torn.subarray(0, -40)]), log(1, [config(3), done(3)])];
	const { plan, executed } = await executes({ logs, from: startAt(identity(0)) });
	assert.deepEqual(executed, [id(1), id(3)]);
	assert.deepEqual(kinds(plan), ["slice", "archive"]);
	assert.equal(plan.remarks[0]?.kind, "torn");
});

test("a torn tail of the log that grows waits for the rest", async () => {
	const cut = Buffer.concat([config(1), done(1), config(2).subarray(0, 40)]);
	const logs = [log(0, [cut], open)];
	const { plan } = await executes({ logs, from: startAt(identity(0)) });
	assert.equal(plan.position.offset, 512 + config(1).length + 50);
	assert.deepEqual(plan.remarks, []);
});

test("a CreateLink is left out, so that Zimbra's reader does not take the next record with it", async () => {
	const logs = [log(0, [config(1), build.createLink({ counter: 2 }, 16), done(1), done(2, 35)])];
	const { plan, executed } = await executes({ logs, from: startAt(identity(0)) });
	assert.deepEqual(executed, [id(1)]);
	assert.deepEqual(kinds(plan), ["slice"]);
	assert.equal(plan.counts.notExecutable, 1);
	assert.equal(plan.remarks[0]?.kind, "not executable");
});

test("what follows an unknown opcode is given as a file of its own", async () => {
	const logs = [
		log(0, [
			config(1),
			done(1),
			build.foreign({ opcode: 96, counter: 2 }, 30),
			config(3),
			done(3),
			done(2, 96),
		]),
	];
	const { plan, executed } = await executes({ logs, from: startAt(identity(0)) });
	assert.deepEqual(executed, [id(1), id(3)]);
	assert.deepEqual(kinds(plan), ["slice", "slice"]);
	assert.equal(plan.counts.uncertain, 1);
	assert.equal(plan.remarks[0]?.kind, "gap");
});

test("an operation of an extension stays where it is, in the whole archive", async () => {
	const logs = [
		log(0, [build.foreign({ opcode: 42, counter: 2 }, 30), config(3), done(3), done(2, 42)]),
	];
	const plan = await planReplay({ logs, from: startAt(identity(0)) });
	assert.deepEqual(kinds(plan), ["archive"]);
	assert.equal(plan.counts.uncertain, 1);
});

test("bytes that cannot be walked go along raw, with all blobs that they may link", async () => {
	const blob = build.storeIncomingBlob({ counter: 1 }, "/b/1", Buffer.from("x"));
	const first = [blob, done(1, 26), config(2)];
	const rest = [Buffer.from("rubbish"), config(3), done(3), done(2)];
	const logs = [log(0, [...first, ...rest])];
	const to = { sequence: 0, offset: 512 + Buffer.concat(first).length };
	const { position } = await planReplay({ logs, from: startAt(identity(0)), to });
	const plan = await planReplay({ logs, from: position });
	assert.equal(plan.files.length, 1);
	assert.equal(plan.counts.carriedBytes, blob.length + 50 + config(2).length);
	const bytes = filesOf(plan, logs)[0] as Buffer;
	assert.equal(bytes.length, 512 + plan.counts.carriedBytes + Buffer.concat(rest).length);
});

/** The end of so many bytes of records. */
const behind = (records: Uint8Array[], sequence = 0) => ({
	sequence,
	offset: 512 + Buffer.concat(records).length,
});

test("what is open goes along with bytes that cannot be walked, which may end it", async () => {
	const rest = [Buffer.from("rubbish"), config(3), done(3)];
	const logs = [log(0, [config(2), ...rest])];
	const to = behind([config(2)]);
	const { position } = await planReplay({ logs, from: startAt(identity(0)), to });
	const plan = await planReplay({ logs, from: position });
	assert.equal(plan.counts.carriedBytes, config(2).length);
});

test("bytes that cannot be walked are given, also where nothing else was committed", async () => {
	const logs = [log(0, [Buffer.from("rubbish"), build.abort({ opcode: 46, counter: 9 })])];
	const plan = await planReplay({ logs, from: startAt(identity(0)) });
	assert.deepEqual(kinds(plan), ["archive"]);
});

for (const [title, others, ended] of [
	["alone", [], []],
	["beside others", [config(5)], [done(5)]],
] as const) {
	test(`an operation of an unknown opcode that was open, ${title}, is carried in a file of its own`, async () => {
		const foreign = build.foreign({ opcode: 96, counter: 2 }, 30);
		const first = [foreign, config(3), ...others, done(3)];
		const logs = [log(0, [...first, config(4), done(4), done(2, 96), ...ended])];
		const to = behind(first);
		const { position } = await planReplay({ logs, from: startAt(identity(0)), to });
		const { plan, executed } = await executes({ logs, from: position });
		assert.deepEqual(executed, [id(4), ...others.map(() => id(5))]);
		assert.equal(plan.counts.uncertain, 1);
		assert.equal(plan.mayDrop, true);
		assert.deepEqual(filesOf(plan, logs)[0]?.subarray(512), foreign);
		assert.equal(plan.counts.carriedBytes, Buffer.concat([foreign, ...others]).length);
	});
}

for (const [title, record] of [
	[
		"of another layout than the known one",
		build.extension({ opcode: 46, counter: 2 }, Buffer.alloc(9)),
	],
	["of a newer version", build.setConfig({ counter: 2, minor: 43 }, "x")],
] as const) {
	test(`an operation ${title} that was open is carried into the replay in which it is committed`, async () => {
		const first = [record, config(3), done(3)];
		const logs = [log(0, [...first, config(4), done(4), done(2)])];
		const { position } = await planReplay({ logs, from: startAt(identity(0)), to: behind(first) });
		const plan = await planReplay({ logs, from: position });
		assert.deepEqual(filesOf(plan, logs)[0]?.subarray(512), record);
		assert.equal(plan.counts.uncertain, 1);
		assert.equal(plan.mayDrop, true);
	});
}

test("an operation that stands between bytes that cannot be walked is carried into the replay in which it is committed", async () => {
	const rubbish = Buffer.from("rubbish");
	const first = [rubbish, config(2), config(3), done(3), rubbish, config(4), done(4)];
	const logs = [log(0, [...first, config(5), done(5), done(2)])];
	const { position } = await planReplay({ logs, from: startAt(identity(0)), to: behind(first) });
	assert.deepEqual(
		position.open.map((each) => each.id),
		[id(2)],
	);
	const { plan, executed } = await executes({ logs, from: position });
	assert.deepEqual(executed, [id(5), id(2)]);
	assert.deepEqual(filesOf(plan, logs)[0]?.subarray(512), config(2));
});

test("a log of a newer version is not replayed, and the ones before it are", async () => {
	const newer = log(1, [config(3), done(3)]);
	const header = { ...newer.header, version: { major: 1, minor: 43 } };
	const logs = [log(0, [config(1), done(1)]), { ...newer, header }];
	const { plan, executed } = await executes({ logs, from: startAt(identity(0)) });
	assert.deepEqual(executed, [id(1)]);
	assert.deepEqual(plan.end, { kind: "log newer", sequence: 1, version: header.version });
	const next = await planReplay({ logs, from: startAt(identity(1)) });
	assert.deepEqual([next.files, next.end.kind], [[], "log newer"]);
});

test("the blob of a link that is about to be logged again is kept, however old it is", async () => {
	const links = [2, 3, 4].map((counter) => build.linkedMessage({ counter }, "/b/1"));
	const much = { counter: 9, timestamp: 1_795_443_900_000 + 2 * blobMemory };
	const late = [build.setConfig(much, "late"), build.commit({ ...much, opcode: 46 })];
	const blob = build.storeIncomingBlob({ counter: 1 }, "/b/1", Buffer.from("x"));
	const logs = [log(0, [blob, done(1, 26), ...links, ...late]), log(1, links, open)];
	let from = startAt(identity(0));
	for (let again = 0; again < links.length; again++) {
		const to = behind(links.slice(0, again), 1);
		({ position: from } = await planReplay({ logs, from, to }));
		assert.equal(from.blobs.length, 1, `after ${again} of them`);
	}
});

test("blobs are forgotten when they are old, and the oldest where there are very many", async () => {
	const stored = (counter: number, minutes: number) => {
		const head = { counter, timestamp: 1_795_443_900_000 + minutes * 60_000 };
		const blob = build.storeIncomingBlob(head, `/b/${counter}`, Buffer.from("x"));
		return [blob, build.commit({ ...head, opcode: 26 })];
	};
	const aged = [stored(1, 0), stored(2, 10), stored(3, 20)].flat();
	const { position } = await planReplay({ logs: [log(0, aged)], from: startAt(identity(0)) });
	assert.deepEqual(
		position.blobs.map(({ path }) => path),
		["/b/2", "/b/3"],
	);
	const many = Array.from({ length: 10_002 }, (_, i) => stored(i, 0)).flat();
	const crowded = await planReplay({ logs: [log(0, many)], from: startAt(identity(0)) });
	assert.equal(crowded.position.blobs.length, 10_000);
	assert.equal(crowded.position.blobs.at(-1)?.path, "/b/10001");
});

test("very many blobs in one part of the log are not all held, and a late link to the first still finds it", async () => {
	const stored = (counter: number) => [
		build.storeIncomingBlob({ counter }, `/b/${counter}`, Buffer.from(`${counter}`)),
		done(counter, 26),
	];
	const many = Array.from({ length: 100_001 }, (_, i) => stored(i)).flat();
	const link = [build.linkedMessage({ counter: 200_000 }, "/b/0"), done(200_000, 27)];
	const logs = [log(0, [...many, ...link])];
	const range = { logs, from: startAt(identity(0)) };
	const state = new ReplayState(range.from);
	let most = 0;
	for (const event of scanReplay(range, state))
		if (event.kind === "tick") most = Math.max(most, state.blobs.size);
	assert.ok(state.forgotBlobs && most <= 100_000);
	const plan = await planReplay(range);
	assert.deepEqual([plan.remarks, plan.counts.carriedBytes], [[], 0]);
	const { file } = await keptOperations(range, ({ opcode }) => opcode === 27);
	assert.equal(file?.kind === "slice" && file.pieces.length, 4);
});

test("in a log that grows, what cannot be walked is waited for", async () => {
	const logs = [log(0, [config(1), done(1), build.foreign({ opcode: 96, counter: 2 }, 30)], open)];
	const { plan, executed } = await executes({ logs, from: startAt(identity(0)) });
	assert.deepEqual(executed, [id(1)]);
	assert.equal(plan.end.kind, "stuck");
	assert.equal(plan.position.offset, 512 + config(1).length + 50);
	// Closed, it is dealt with.
	const [closed] = [log(0, [config(1), done(1), build.foreign({ opcode: 96, counter: 2 }, 30)])];
	const after = await planReplay({ logs: [closed], from: plan.position });
	assert.equal(after.position.offset, closed.length);
	assert.equal(after.end.kind, "done");
});

test("operations that the caller names are not executed, now or later", async () => {
	const logs = [
		log(0, [config(1), build.setConfig({ counter: 2, mailboxId: 9 }, "x"), done(1), done(2)]),
		log(1, [config(3), done(3)]),
	];
	const { plan, executed } = await executes({
		logs,
		from: startAt(identity(0)),
		leaveOut: ({ mailboxId }) => mailboxId === 9,
	});
	assert.deepEqual(executed, [id(1), id(3)]);
	assert.equal(plan.counts.leftOut, 1);
	assert.deepEqual(plan.position.open, []);
});

test("what was executed before a cut is left out when it is logged again and committed", async () => {
	const logs = [log(0, [config(1), config(2), done(2), done(1)], { verified: true })];
	const from = { ...startAt(identity(0)), executed: [id(1)] };
	const { plan, executed } = await executes({ logs, from });
	assert.deepEqual(executed, [id(2)]);
	assert.deepEqual(plan.position.executed, []);
});

test("cut twice before it was committed again: still left out; cut below its change record: divergence", async () => {
	const full = log(0, [config(1), config(2), done(1)], open);
	const { position } = await planReplay({ logs: [full], from: startAt(identity(0)) });
	const once = rewind(position, full, behind([config(1), config(2)]).offset);
	assert.deepEqual([once.position.executed, once.lost], [[id(1)], []]);
	const twice = rewind(once.position, full, behind([config(1)]).offset);
	assert.deepEqual([twice.position.executed, twice.lost], [[id(1)], []]);
	const gone = rewind(twice.position, full, 512 + 20);
	assert.deepEqual(
		gone.lost.map((each) => each.id),
		[id(1)],
	);
});

test("after a cut only blobs that are still there are remembered", async () => {
	const stored = (counter: number) => [
		build.storeIncomingBlob({ counter }, `/b/${counter}`, Buffer.from("x")),
		done(counter, 26),
	];
	const kept = [...stored(2), config(3)];
	const full = log(1, [...kept, ...stored(4)], open);
	const logs = [log(0, stored(1)), full];
	const { position } = await planReplay({ logs, from: startAt(identity(0)) });
	assert.equal(position.blobs.length, 3);
	const cut = rewind(position, full, behind(kept, 1).offset);
	assert.deepEqual(
		cut.position.blobs.map(({ path }) => path),
		["/b/1", "/b/2"],
	);
});

test("a link to a blob that is nowhere is said", async () => {
	const logs = [log(0, [build.linkedMessage({ counter: 2 }, "/b/1"), done(2, 27)])];
	const { plan } = await executes({ logs, from: startAt(identity(0)) });
	assert.equal(plan.remarks[0]?.kind, "link without blob");
});

test("a blob that is remembered no more is searched for in the earlier logs", async () => {
	const old = build.storeIncomingBlob({ counter: 1 }, "/b/1", Buffer.from("old"));
	const newer = build.storeIncomingBlob({ counter: 2 }, "/b/1", Buffer.from("newer"));
	const logs = [
		log(0, [old, done(1, 26), newer, done(2, 26)]),
		log(1, [build.linkedMessage({ counter: 3 }, "/b/1"), done(3, 27)], open),
	];
	const plan = await planReplay({ logs, from: startAt(identity(1)) });
	const { linked } = play(filesOf(plan, logs));
	assert.equal(linked.get(id(3)), "newer");
});

test("new mailboxes are told with their accounts", async () => {
	const logs = [log(0, [build.createMailbox({ counter: 1, mailboxId: 8 }, "acc"), done(1, 7)])];
	const plan = await planReplay({ logs, from: startAt(identity(0)) });
	assert.deepEqual(plan.newMailboxes, [{ mailboxId: 8, accountId: "acc" }]);
	const [operation] = committedOperations({ logs, from: startAt(identity(0)) });
	assert.equal(operation?.accountId, "acc");
});

test("a hole in the sequence ends the plan before it", async () => {
	const logs = [log(0, [config(1), done(1)]), log(2, [config(3), done(3)])];
	const { plan, executed } = await executes({ logs, from: startAt(identity(0)) });
	assert.deepEqual(executed, [id(1)]);
	assert.deepEqual(plan.end, { kind: "log missing", sequence: 1 });
	const other = await planReplay({ logs, from: startAt(identity(1)) });
	assert.deepEqual(other.end, { kind: "log missing", sequence: 1 });
});

test("another log under the number of the position, or a shorter one, is not replayed", async () => {
	const logs = [log(0, [config(1), done(1)])];
	const other = { ...identity(0), createTime: 5 };
	const altered = await planReplay({ logs, from: startAt(other) });
	assert.equal(altered.end.kind, "log altered");
	const shorter = await planReplay({ logs, from: startAt(identity(0), 100_000) });
	assert.equal(shorter.end.kind, "log shorter");
	assert.deepEqual([altered.files, shorter.files], [[], []]);
});

test("a long plan gives way now and then", async () => {
	const records = Array.from({ length: 5000 }, (_, i) => [config(i), done(i)]).flat();
	let pauses = 0;
	await planReplay({ logs: [log(0, records)], from: startAt(identity(0)) }, async () => {
		pauses++;
	});
	assert.ok(pauses >= 2);
});

test("text that is no whole position is not taken for one", () => {
	for (const text of ["", "{}", "null", '{"version":1}', '{"version":2,"log":{}}'])
		assert.equal(parseReplayedPosition(text), undefined);
	const position = JSON.stringify(startAt(identity(0)));
	assert.equal(parseReplayedPosition(position.slice(0, -1)), undefined);
	assert.equal(parseReplayedPosition(position.replace("512", "5")), undefined);
	assert.ok(parseReplayedPosition(position));
});
