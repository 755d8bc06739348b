import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { pino } from "pino";
import { Standstill } from "../../../src/formats/lag.ts";
import { RedoStatus } from "../../../src/loops/redo/redo-status.ts";
import { watchLag } from "../../../src/loops/redo/watch-lag.ts";
import { until } from "../../pair/until.ts";

test("an outage of a night is told when it begins and when it ends, not at each attempt", () => {
	const lines: string[] = [];
	const log = pino({ base: null }, { write: (line) => lines.push(JSON.parse(line).msg) });
	const status = new RedoStatus("192.0.2.1", 5000, log);
	status.setPhase("catching up");
	for (let attempt = 0; attempt < 500; attempt++) {
		status.problems.report("link", new Error(`no answer in attempt ${attempt}`));
		status.setPhase("waiting");
		status.setPhase("connecting");
	}
	status.problems.resolved("link");
	status.setPhase("streaming");
	const told = ["catching up", "link: no answer in attempt 0", "link: mended", "streaming"];
	assert.deepEqual(lines, told);
});

test("a mirror that falls behind is told of, and that it has caught up; not while a cause of it is told", async () => {
	const status = new RedoStatus("192.0.2.1", 5000, pino({ level: "silent" }));
	const position = (offset: number) =>
		({ sequence: 1, offset, serverId: "server", createTime: 1, timeline: 1 }) as const;
	const ended = new AbortController();
	const settings = { lag_max: 1000, replay_interval: 0 };
	const watching = watchLag(settings, status, ended.signal, 20);
	const told = () => status.problems.list().map(({ message }) => message.replace(/\d+/, "N"));

	status.setReplayed(position(512));
	status.setFlushed(position(512));
	status.heard(position(900), 0);
	await until("the redo log is behind", () =>
		told().some((message) => /redo log here/.test(message)),
	);
	status.setFlushed(position(900));
	await until(
		"the store is",
		() => told()[0] === "the message store is N minutes behind the live server",
	);
	status.setReplayed(position(900));
	const beating = setInterval(() => status.heard(position(900), 0), 100);
	await until("it has caught up", () => told().length === 0);
	clearInterval(beating);

	status.problems.report("link", new Error("no route"));
	status.heard(position(2000), 0);
	await sleep(1500);
	assert.deepEqual(told(), ["no route"]);
	ended.abort();
	await watching;
});

const logPosition = (offset: number) =>
	({ sequence: 1, offset, serverId: "server", createTime: 1, timeline: 1 }) as const;

for (const cause of ["link", "replay", "coverage", "lock", undefined]) {
	test(`a store that stands still although there is more to replay is CRITICAL after lag_max, ${cause === undefined ? "also where nothing else is told" : `also beside trouble with: ${cause}`}`, async () => {
		const status = new RedoStatus("192.0.2.1", 5000, pino({ level: "silent" }));
		const ended = new AbortController();
		const settings = { lag_max: 400, replay_interval: 100 };
		const watching = watchLag(settings, status, ended.signal, 20);
		const critical = () =>
			status.problems
				.list()
				.find(({ critical, message }) => critical && /stands still/.test(message));
		if (cause !== undefined) status.problems.report(cause, new Error("something else"));
		// LDAP may never have been copied, and the live server may have gone after it was heard of.
		status.setReplayed(logPosition(512));
		status.heard(logPosition(900), 0);
		status.setFlushed(logPosition(900));
		await until("it is told", () => critical() !== undefined);
		assert.match(critical()?.message ?? "", /stood at 1:512 for \d+ minutes, .* gone on to 1:900$/);
		status.setReplayed(logPosition(513));
		await until("it moves", () => critical() === undefined);
		ended.abort();
		await watching;
	});
}

test("an idle live server, and a store that follows a busy one, are no standstill", async () => {
	const status = new RedoStatus("192.0.2.1", 5000, pino({ level: "silent" }));
	const ended = new AbortController();
	const watching = watchLag({ lag_max: 500, replay_interval: 0 }, status, ended.signal, 20);
	status.setReplayed(logPosition(900));
	status.setFlushed(logPosition(900));
	const beating = setInterval(() => status.heard(logPosition(900), 0), 100);
	await sleep(1500);
	assert.deepEqual(status.problems.list(), []);
	clearInterval(beating);
	ended.abort();
	await watching;

	const standstill = new Standstill();
	for (let now = 0; now < 10_000; now += 100) {
		const ms = standstill.lastsMs(logPosition(512 + now), logPosition(1000 + now), now);
		assert.ok(ms <= 100, `${ms} ms at ${now}`);
	}
});
