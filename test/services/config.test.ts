import assert from "node:assert/strict";
import {
	chmodSync,
	chownSync,
	mkdirSync,
	mkdtempSync,
	rmSync,
	statSync,
	writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { type TestContext, test } from "node:test";
import { Refusal } from "../../src/errors.ts";
import { findConfigFile, loadConfig } from "../../src/services/config.ts";

function configFile(t: TestContext, text?: string): string {
	const directory = mkdtempSync(join(tmpdir(), "config-"));
	t.after(() => rmSync(directory, { recursive: true }));
	const file = join(directory, "live_sync.conf");
	if (text !== undefined) writeFileSync(file, text, { mode: 0o644 });
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
	const program = join(file, "../bin/live-syncd");
	assert.equal(findConfigFile({ option: "/a", variable: "/b", program }), "/a");
	assert.equal(findConfigFile({ variable: "/b", program }), "/b");
	assert.equal(findConfigFile({ variable: "", program }), file);
	const nowhere = "/nowhere/x/live-syncd";
	assert.equal(findConfigFile({ program: nowhere }), "/opt/zimbra/live_sync/live_sync.conf");
});

test("a file that others can write, or its directory, is refused with the command that mends it", async (t) => {
	const file = configFile(t, 'server1="192.0.2.1"\nserver2="192.0.2.2"\n');
	for (const path of [file, dirname(file)]) {
		const { mode } = statSync(path);
		for (const more of [0o020, 0o002]) {
			chmodSync(path, mode | more);
			await assert.rejects(loadConfig(file), (error: unknown) => {
				assert.ok(error instanceof Refusal && error.code === "bad-config");
				assert.equal(error.hint, `chmod go-w ${path}`);
				return true;
			});
		}
		chmodSync(path, mode);
	}
	chmodSync(file, 0o644);
	assert.equal((await loadConfig(file)).settings.server1, "192.0.2.1");
});

test("a file of another user, or in another user's directory, is refused", async (t) => {
	if (process.getuid?.() !== 0) return t.skip("only root can give a file away");
	const file = configFile(t, 'server1="192.0.2.1"\nserver2="192.0.2.2"\n');
	for (const path of [file, dirname(file)]) {
		chownSync(path, 4242, 0);
		await assert.rejects(loadConfig(file), refusal("wrong-user", /user with the number 4242/));
		chownSync(path, 0, 0);
	}
});
