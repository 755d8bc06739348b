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
