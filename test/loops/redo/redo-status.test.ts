import assert from "node:assert/strict";
import { test } from "node:test";
import { pino } from "pino";
import { RedoStatus } from "../../../src/loops/redo/redo-status.ts";

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
