import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { runToEnd } from "../../pair/run.ts";

const program = join(import.meta.dirname, "../../../bin/live-syncd.ts");
const liveSyncd = (...words: string[]) => runToEnd(process.execPath, [program, ...words]);

test("a command that is not known is named, and nothing is started", async () => {
	const { code, stderr } = await liveSyncd("restart");
	assert.equal(code, 2);
	assert.match(stderr, /unknown command 'restart'/);
	assert.match(stderr, /live-syncd --help/);
});

for (const words of [["--help"], ["help"]]) {
	test(`live-syncd ${words.join(" ")} tells the commands`, async () => {
		const { code, stdout } = await liveSyncd(...words);
		assert.equal(code, 0);
		for (const command of ["start", "stop", "status", "kill"]) {
			assert.match(stdout, new RegExp(`^ {2}${command}\\b`, "m"));
		}
		assert.doesNotMatch(stdout, /\bloop\b <|^ {2}loop/m);
	});
}

test("help explains a code, a runbook and a command, and every topic that it lists", async () => {
	const code = await liveSyncd("help", "archive-gone");
	assert.equal(code.code, 0);
	assert.match(code.stdout, /^## archive-gone\n\n\*\*What happened\.\*\*/);
	assert.match(code.stdout, /\/bin\/live-syncd\.ts help gap\)/, "a link is a command");
	const runbook = await liveSyncd("help", "runbook", "initial-copy");
	assert.match(runbook.stdout, /^## Initial copy\n/);
	assert.match(runbook.stdout, /^# on mirror, as root$/m, "commands and all");
	assert.doesNotMatch(runbook.stdout, /^## Failover/m);
	assert.match((await liveSyncd("help", "stop")).stdout, /^Usage: live-syncd stop/);
	const unknown = await liveSyncd("help", "nothing");
	assert.equal(unknown.code, 2);
	assert.match(unknown.stderr, /there is no topic nothing\n {2}try: \//);
	assert.match(
		(await liveSyncd("help")).stdout,
		/^codes: already-running .*\brunbooks: initial-copy /ms,
	);
});

test("both programs print their licence", async () => {
	const { stdout } = await liveSyncd("--licences");
	assert.match(stdout, /GNU GENERAL PUBLIC LICENSE/);
	const other = program.replace("live-syncd.ts", "sync-commands.ts");
	assert.equal((await runToEnd(process.execPath, [other, "--licences"])).stdout, stdout);
});

test("a hint names what can be typed on this server: the whole path of the program", async () => {
	const { code, stderr } = await liveSyncd("--config", "/nowhere/live_sync.conf", "stop");
	assert.equal(code, 1);
	assert.ok(stderr.includes(`see ${program} help settings`), stderr);
});

test("an option that is not known is a command line that makes no sense", async () => {
	const { code, stderr } = await liveSyncd("start", "--force");
	assert.equal(code, 2);
	assert.match(stderr, /unknown option '--force'/);
});

for (const command of ["start", "stop", "status", "kill", "status --json", "loop redo"]) {
	test(`a word too many behind ${command} is refused, and nothing is done`, async () => {
		const { code, stdout, stderr } = await liveSyncd(...command.split(" "), "now");
		assert.equal(code, 2);
		assert.match(stderr, /too many arguments/);
		assert.equal(stdout, "");
	});
}
