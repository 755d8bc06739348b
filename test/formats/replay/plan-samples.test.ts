import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { bytesSource } from "../../../src/formats/redolog/cursor.ts";
import { formatHeader, type LogHeader, parseHeader } from "../../../src/formats/redolog/header.ts";
import { LogWalk } from "../../../src/formats/redolog/walker.ts";
import { planReplay } from "../../../src/formats/replay/plan.ts";
import { type ReplayedPosition, startAt } from "../../../src/formats/replay/replayed-position.ts";
import type { ReplayLog } from "../../../src/formats/replay/scan.ts";
import * as build from "../redolog/build.ts";
import { samples, samplesDirectory } from "../redolog/samples.ts";
import { materialise, play } from "./player.ts";

/** The redolog directory of a server under load, and the operations that were committed there. */
const logs: ReplayLog[] = samples
	.filter(({ name }) => name.startsWith("main/"))
	.map(({ name, bytes }) => {
		const header = parseHeader(bytes) as LogHeader;
		const { serverId, sequence, createTime } = header;
		const closed = name !== "main/redo.log";
		return {
			identity: { serverId, sequence, createTime, timeline: 0 },
			name,
			header,
			source: bytesSource(bytes),
			length: bytes.length,
			closed,
			verified: closed,
		};
	})
	.sort((a, b) => a.identity.sequence - b.identity.sequence);

const truth = readFileSync(join(samplesDirectory, "main/truth.tsv"), "utf8")
	.split("\n")
	.filter((line) => line !== "" && !line.startsWith("#"))
	.map((line) => line.split("\t"))
	.map(([, id = "", , , body = "", , operation = ""]) => ({ id, body, operation }));

const bytesOf = ({ sequence }: { sequence: number }) => {
	const { length, source } = logs[sequence] as ReplayLog;
	const bytes = Buffer.alloc(length);
	source.read(bytes, 0);
	return bytes;
};

async function replay(from: ReplayedPosition, to?: { sequence: number; offset: number }) {
	const plan = await planReplay(to === undefined ? { logs, from } : { logs, from, to });
	const files = plan.files.map((file) =>
		file.kind === "archive"
			? bytesOf(file.log.identity)
			: materialise(formatHeader(file.header), file.pieces, bytesOf),
	);
	return { ...plan, run: play(files) };
}

const boundaries = logs.flatMap(({ identity, source, length }) =>
	[...new LogWalk(source, { to: length })].map(({ offset }) => ({
		sequence: identity.sequence,
		offset,
	})),
);

function assertTruth(executed: readonly string[], lost: readonly string[]) {
	const due = truth.filter(({ operation }) => operation !== "StoreIncomingBlob");
	assert.deepEqual(executed.toSorted(), due.map(({ id }) => id).toSorted());
	assert.deepEqual(lost, []);
}

const [first] = logs as [ReplayLog];

test("the logs of a server under load, replayed at once: what was committed, archives as they are", async () => {
	const { run, files, remarks } = await replay(startAt(first.identity));
	assertTruth(run.executed, run.lost);
	assert.deepEqual(
		files.map(({ kind }) => kind),
		["archive", "archive", "archive", "archive", "slice"],
	);
	// Three of the aborts take back a delivery by a link, which may be there all the same.
	assert.deepEqual(
		remarks.map(({ kind }) => kind),
		["aborted link", "aborted link", "aborted link"],
	);
});

test("replayed in two runs, cut at any record: each committed operation once, no link lost", async () => {
	for (const cut of boundaries) {
		const one = await replay(startAt(first.identity), cut);
		const two = await replay(one.position);
		assertTruth([...one.run.executed, ...two.run.executed], [...one.run.lost, ...two.run.lost]);
	}
});

test("replayed in many small runs: the same", async () => {
	const draw = build.drawFrom(3);
	for (let round = 0; round < 20; round++) {
		let position = startAt(first.identity);
		const executed: string[] = [];
		const lost: string[] = [];
		for (let i = 0; i < boundaries.length; i += 1 + draw(20)) {
			const { run, position: reached } = await replay(position, boundaries[i]);
			executed.push(...run.executed);
			lost.push(...run.lost);
			position = reached;
		}
		const { run } = await replay(position);
		assertTruth([...executed, ...run.executed], [...lost, ...run.lost]);
	}
});
