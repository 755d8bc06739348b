import assert from "node:assert/strict";
import {
	cpSync,
	mkdtempSync,
	readdirSync,
	readFileSync,
	renameSync,
	rmSync,
	writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { type LogHeader, parseHeader } from "../../../src/formats/redolog/header.ts";
import { planReplay } from "../../../src/formats/replay/plan.ts";
import { startAt } from "../../../src/formats/replay/replayed-position.ts";
import { zimbraPaths } from "../../../src/services/paths.ts";
import { openReplayLogs } from "../../../src/services/redolog/log-files.ts";
import { pause, writeSlice } from "../../../src/services/redolog/slice-writer.ts";
import { samplesDirectory } from "../../formats/redolog/samples.ts";
import { play } from "../../formats/replay/player.ts";

function zimbraWithSamples() {
	const home = mkdtempSync(join(tmpdir(), "slices-"));
	cpSync(join(samplesDirectory, "main"), join(home, "redolog"), { recursive: true });
	const zimbra = zimbraPaths(home);
	const [first = ""] = readdirSync(zimbra.archive).filter((name) => name.endsWith("seq0.log"));
	const { serverId, sequence, createTime } = parseHeader(
		readFileSync(join(zimbra.archive, first)),
	) as LogHeader;
	return {
		home,
		zimbra,
		start: startAt({ serverId, sequence, createTime, timeline: 0 }),
		[Symbol.dispose]: () => rmSync(home, { recursive: true }),
	};
}

test("a plan over the files of a mirror is written and can be played", async () => {
	using server = zimbraWithSamples();
	await using files = await openReplayLogs(server, server.start);
	const { logs } = files;
	assert.deepEqual(
		logs.map(({ identity, closed, verified }) => [identity.sequence, closed, verified]),
		[
			[0, true, true],
			[1, true, true],
			[2, true, true],
			[3, true, true],
			[4, false, false],
		],
	);
	const from = server.start;
	const first = await planReplay({ logs, from, to: { sequence: 2, offset: 60_000 } }, pause);
	const second = await planReplay({ logs, from: first.position });
	const executed: string[] = [];
	for (const plan of [first, second]) {
		const contents: Buffer[] = [];
		for (const file of plan.files) {
			const path =
				file.kind === "archive"
					? join(server.zimbra.archive, file.log.name)
					: join(server.home, "slice.log");
			if (file.kind === "slice") await writeSlice(file, logs, path);
			contents.push(readFileSync(path));
		}
		executed.push(...play(contents).executed);
	}
	const whole = await planReplay({ logs, from });
	assert.equal(executed.length, new Set(executed).size);
	assert.equal(first.counts.executed + second.counts.executed, whole.counts.executed);
	assert.deepEqual(
		readdirSync(server.home).filter((name) => name.endsWith(".tmp")),
		[],
	);
});

test("of two logs of one number that of the position counts, else the one made last", async () => {
	using server = zimbraWithSamples();
	const { zimbra, start } = server;
	const stranger = "redo-20990101.000000.000-seq9.log";
	const bytes = readFileSync(zimbra.currentLog);
	renameSync(zimbra.currentLog, join(zimbra.archive, stranger));
	const [current = ""] = readdirSync(zimbra.archive).filter((name) => name.endsWith("seq3.log"));
	const later = Buffer.from(bytes);
	later.writeBigInt64BE(later.readBigInt64BE(172) + 1000n, 172);
	writeFileSync(zimbra.currentLog, later);
	const createTimeOf4 = async (position: typeof start) => {
		await using files = await openReplayLogs(server, position);
		assert.ok(files.logs.some(({ name }) => name === current));
		return files.logs.find(({ identity }) => identity.sequence === 4)?.identity.createTime;
	};
	const old = Number(bytes.readBigInt64BE(172));
	assert.equal(await createTimeOf4(start), old + 1000);
	const at4 = { ...start, log: { ...start.log, sequence: 4, createTime: old } };
	assert.equal(await createTimeOf4(at4), old);
});

test("a slice whose log has gone is refused, and nothing half is left", async () => {
	using server = zimbraWithSamples();
	await using files = await openReplayLogs(server, server.start);
	const { logs } = files;
	const plan = await planReplay({ logs, from: server.start, to: { sequence: 0, offset: 60_000 } });
	const [slice] = plan.files;
	assert.ok(slice?.kind === "slice");
	const path = join(server.home, "slice.log");
	await assert.rejects(writeSlice(slice, logs.slice(1), path), /redo log 0/);
	assert.deepEqual(
		readdirSync(server.home).filter((entry) => entry.includes("slice")),
		[],
	);
});
