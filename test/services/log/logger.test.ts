import assert from "node:assert/strict";
import {
	mkdirSync,
	mkdtempSync,
	readdirSync,
	readFileSync,
	readlinkSync,
	realpathSync,
	rmSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { settingsTable } from "../../../src/formats/settings/table.ts";
import { formatLogLine } from "../../../src/services/log/line.ts";
import { makeLogger } from "../../../src/services/log/logger.ts";

const settings = { log_format: "lines", log_level: "info", log_rotate: "no", log_keep: 2 } as const;

function directory(t: TestContext): string {
	const path = realpathSync(mkdtempSync(join(tmpdir(), "log-")));
	t.after(() => rmSync(path, { recursive: true }));
	return path;
}

test("a log on a full disk does not end the process that writes to it", async () => {
	const log = await makeLogger("/dev/full", settings);
	for (let i = 0; i < 5; i++) {
		log.info("a line");
		await turn();
	}
});

test("a log that cannot be opened does not end it either, and is said", async (t) => {
	const file = join(directory(t), "live_sync.log");
	mkdirSync(file);
	const said: unknown[] = [];
	t.mock.method(process.stderr, "write", (text: unknown) => said.push(text));
	const log = await makeLogger(file, { ...settings, log_level: "error" });
	t.mock.restoreAll();
	log.info("below its level");
	assert.match(String(said), /live_sync\.log cannot be written: EISDIR/);
});

test("what the other side says cannot forge a line of the log", () => {
	const line = formatLogLine({
		level: 40,
		time: 0,
		msg: "it said\r\n1970 info  start: all is well\u2028",
		reason: "a\nb",
	});
	assert.equal(line.indexOf("\n"), line.length - 1);
	assert.doesNotMatch(line.slice(0, -1), /[\p{Cc}\u2028]/u);
});

test("what the other side says can neither order a terminal about nor fill the log", () => {
	const said = `\u001b[2Jgone\u202eenod\u009b31m${"x".repeat(1 << 20)}`;
	const line = formatLogLine({ level: 40, time: 0, msg: said, reason: said, facts: { said } });
	assert.doesNotMatch(line.slice(0, -1), /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
	assert.ok(line.length < 15_000, `${line.length} characters`);
	assert.match(line, /cut, of \d+ characters/);
});

test("in the form of JSON too, where the values stay what they were", async (t) => {
	const file = join(directory(t), "live_sync.log");
	const log = await makeLogger(file, { ...settings, log_format: "json" });
	const said = "\u001b[2J\u202e\u2028\u009b31m\u{E0041}ä🙂";
	log.warn({ said }, said);
	log.flush();
	const line = readFileSync(file, "utf8");
	assert.doesNotMatch(line.slice(0, -1), /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
	const { msg, said: fact } = JSON.parse(line);
	assert.deepEqual([msg, fact], [said, said]);
});

test("every kind of rotation that the settings offer writes a log", async (t) => {
	const { choices } = settingsTable.log_rotate;
	for (const log_rotate of choices) {
		const at = directory(t);
		const log = await makeLogger(join(at, "live_sync.log"), { ...settings, log_rotate });
		log.info("a line");
		const [name = ""] = readdirSync(at);
		assert.match(readFileSync(join(at, name), "utf8"), /info {2}a line\n$/, log_rotate);
	}
});

test("built-in rotation: a file for each day, log_keep of them, whatever process has made them", async (t) => {
	const at = directory(t);
	t.mock.timers.enable({ apis: ["setTimeout", "Date"], now: new Date(2026, 10, 25, 23, 0) });
	const rotating = { ...settings, log_rotate: "daily" } as const;
	const day = 24 * 3600_000;
	const open = () => makeLogger(join(at, "live_sync.log"), rotating);
	const logs = [await open(), await open()];
	for (let i = 0; i < 4; i++) {
		for (const log of logs) log.info(`day ${i}`);
		t.mock.timers.tick(day);
		await rolledOver(at, `live_sync.2026-11-${26 + i}.1.log`, logs.length);
		// After a restart on a later day.
		if (i === 1) logs.push(await open());
	}
	for (const log of logs) log.info("day 4");
	const names = readdirSync(at).toSorted();
	const lines = (name = "") => readFileSync(join(at, name), "utf8").match(/day \d/g);
	assert.deepEqual(names, ["live_sync.2026-11-28.1.log", "live_sync.2026-11-29.1.log"]);
	assert.deepEqual(lines(names[0]), ["day 3", "day 3", "day 3"]);
	assert.deepEqual(lines(names[1]), ["day 4", "day 4", "day 4"]);
});

/** Until each of so many logs writes to that file, and what is old is gone. */
async function rolledOver(at: string, name: string, logs: number): Promise<void> {
	const began = performance.now(); // the other clock is a mocked one
	for (;;) {
		const open = openFiles().filter((path) => path.startsWith(at));
		const all = open.length === logs && open.every((path) => path === join(at, name));
		if (all && readdirSync(at).length <= settings.log_keep) return;
		assert.ok(performance.now() - began < 90_000, `${open} are open, of ${readdirSync(at)}`);
		await turn();
	}
}

const openFiles = (): string[] =>
	readdirSync("/proc/self/fd").flatMap((fd) => {
		try {
			return [readlinkSync(`/proc/self/fd/${fd}`)];
		} catch {
			return []; // that of the look itself
		}
	});
