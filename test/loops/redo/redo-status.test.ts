import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { pino } from "pino";
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
