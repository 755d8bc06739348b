import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { Refusal } from "../../src/errors.ts";
import { findConfigFile, loadConfig } from "../../src/services/config.ts";

function configFile(t: TestContext, text?: string): string {
	const directory = mkdtempSync(join(tmpdir(), "config-"));
	t.after(() => rmSync(directory, { recursive: true }));
	const file = join(directory, "live_sync.conf");
	if (text !== undefined) writeFileSync(file, text);
	return file;
}

const refusal = (code: string, message: RegExp) => (error: unknown) =>
	error instanceof Refusal && error.code === code && message.test(error.message);

test("a file that is not there, or cannot be read, is named", async (t) => {
	const file = configFile(t);
	await assert.rejects(loadConfig(file), refusal("not-configured", /live_sync\.conf, not found/));
	mkdirSync(file);
	const unread = /live_sync\.conf, cannot be read by user \S+: EISDIR/;
	await assert.rejects(loadConfig(file), refusal("bad-config", unread));
});

test("all that is wrong with a file is told at once, with file and line", async (t) => {
	const file = configFile(t, 'server1="x"\nserver_2="::1"\n');
	const told = /live_sync\.conf: server2 is missing.*\n.*conf:1: server1="x".*\n.*conf:2: unknown/;
	await assert.rejects(loadConfig(file), refusal("bad-config", told));
});

test("the file is where one says, else beside the program or above it, else where it was in 2011", (t) => {
	const file = configFile(t, "");
	const executable = join(file, "../bin/live-syncd");
	assert.equal(findConfigFile({ option: "/a", variable: "/b", executable }), "/a");
	assert.equal(findConfigFile({ variable: "/b", executable }), "/b");
	assert.equal(findConfigFile({ variable: "", executable }), file);
	const nowhere = "/nowhere/x/live-syncd";
	assert.equal(findConfigFile({ executable: nowhere }), "/opt/zimbra/live_sync/live_sync.conf");
});
