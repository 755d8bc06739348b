import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { pino } from "pino";
import { Refusal } from "../../src/errors.ts";
import { Problems } from "../../src/loops/problems.ts";

function make(seriousAfterMs?: number, sameWithinMs?: number) {
	const lines: { level: number; msg: string }[] = [];
	const log = pino({ base: null }, { write: (line) => lines.push(JSON.parse(line)) });
	const problems = new Problems<"disk" | "link">(log, seriousAfterMs, sameWithinMs);
	const told = () => lines.splice(0).map(({ level, msg }) => `${level} ${msg}`);
	return { problems, told };
}

const full = (free: number) =>
	({ code: "disk-space", message: `${free} MiB free`, critical: false }) as const;

test("a condition that lasts is told once and when it ends; status has the figures of the moment", () => {
	const { problems, told } = make();
	problems.note("disk", full(300));
	problems.note("disk", full(299));
	problems.note("disk", full(299));
	assert.deepEqual(told(), ["40 disk: 300 MiB free"]);
	const [shown] = problems.list();
	assert.equal(shown?.message, "299 MiB free");
	problems.resolved("disk");
	problems.resolved("disk");
	assert.deepEqual(told(), ["30 disk: mended"]);
	assert.deepEqual(problems.list(), []);
});

test("when it has become another condition that is told, since when stays", () => {
	const { problems, told } = make();
	problems.report("link", new Error("connection refused"));
	const since = problems.list()[0]?.since;
	problems.report("link", new Refusal("both-mirrors", "it runs there too", "stop it"));
	assert.deepEqual(told(), ["40 link: connection refused", "50 link: it runs there too"]);
	const [shown] = problems.list();
	assert.deepEqual(
		[shown?.code, shown?.critical, shown?.hint, shown?.since],
		["both-mirrors", true, "stop it", since],
	);
	problems.note("disk", full(1));
	assert.equal(problems.list().length, 2);
});

test("what has not mended itself for long is critical: it needs a person, and monitoring must tell one", () => {
	const { problems, told } = make(0);
	problems.report("link", new Error("connection refused"));
	assert.equal(problems.list()[0]?.critical, true);
	problems.report("link", new Error("connection refused"));
	problems.report("link", new Error("connection refused"));
	assert.deepEqual(told(), ["40 link: connection refused", "50 link: connection refused"]);
	problems.resolved("link");
	const patient = make();
	patient.problems.report("link", new Error("connection refused"));
	assert.equal(patient.problems.list()[0]?.critical, false);
});

test("a trouble that comes back moments after its end is the same one: it keeps its beginning, and few lines tell of it", async () => {
	const { problems, told } = make();
	const failing = new Error("EXDEV: cross-device link not permitted");
	problems.report("link", failing);
	const since = problems.list()[0]?.since;
	for (let i = 0; i < 70; i++) {
		problems.resolved("link");
		assert.deepEqual(problems.list(), []);
		if (i === 0) await sleep(5);
		problems.report("link", failing);
	}
	assert.equal(problems.list()[0]?.since, since);
	const line = "40 link: EXDEV: cross-device link not permitted";
	assert.deepEqual(told(), [line, "30 link: mended", line]);
});

test("a trouble that comes and goes becomes critical like one that stays", () => {
	const { problems, told } = make(0);
	problems.report("link", new Error("connection refused"));
	problems.resolved("link");
	problems.report("link", new Error("connection refused"));
	assert.equal(problems.list()[0]?.critical, true);
	assert.deepEqual(told().slice(-1), ["50 link: connection refused"]);
});

test("what comes and goes is told as mended when it stays away; what comes later is a new trouble", async () => {
	const { problems, told } = make(undefined, 50);
	problems.report("link", new Error("connection refused"));
	const since = problems.list()[0]?.since ?? 0;
	problems.resolved("link");
	problems.report("link", new Error("connection refused"));
	told();
	problems.resolved("link");
	assert.deepEqual(told(), []);
	await sleep(200);
	assert.deepEqual(told(), ["30 link: mended"]);
	problems.report("link", new Error("connection refused"));
	assert.ok((problems.list()[0]?.since ?? 0) > since);
	assert.deepEqual(told(), ["40 link: connection refused"]);
});
