import assert from "node:assert/strict";
import { appendFileSync, rmSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import type { Host } from "../pair/host.ts";
import { createPair } from "../pair/pair.ts";
import { signal } from "../pair/processes.ts";
import { until } from "../pair/until.ts";
import { caughtUp, deliver, ldapState, liveSyncd, quickly, refused, tail } from "./support.ts";

/** Each end of a command on the live server is followed by a new connection. */
function reconnect(live: Host): void {
	for (const { pid, command } of live.processes()) {
		if (command.includes("sync-commands")) signal(pid, "SIGKILL");
	}
}

for (const [what, line] of [
	["a line", "echo 'Welcome to mail'"],
	["words without a line end", "printf 'Welcome to mail '"],
] as const) {
	test(`a live user's .bashrc that prints ${what}: start names the words, and what makes the shell silent`, async () => {
		await using pair = await createPair({ ...quickly });
		const { a, b } = pair;
		writeFileSync(a.path(".bashrc"), `echo stty-noise >&2\n${line}\n`);
		const said = await refused(b, "noisy-shell");
		assert.match(said, new RegExp(`shell of .* on ${a.address} prints "Welcome to mail"`));
		assert.match(said, /try: .*\.bashrc/);
	});
}

test("a .bashrc that prints since start: the redo log comes all the same, status names the shell, and it mends", async () => {
	await using pair = await createPair({ ...quickly, ldap: true });
	const { a, b } = pair;
	await liveSyncd(b, "start");
	await until("LDAP is in use", async () => (await ldapState(b))?.installed !== undefined);
	appendFileSync(a.path(".bashrc"), "printf 'Welcome to mail '\n");
	reconnect(a);
	const shell = async () =>
		(await ldapState(b))?.problems.find(({ code }) => code === "noisy-shell");
	await until("the shell is named", async () => (await shell()) !== undefined).catch(
		(error: unknown) => {
			throw new Error(`${String(error)}${tail(b)}`);
		},
	);
	assert.match((await shell())?.message ?? "", /Welcome to mail/);
	await deliver(pair, 3);
	await caughtUp(pair);
	rmSync(a.path(".bashrc"));
	reconnect(a);
	await until("it is mended", async () => (await shell()) === undefined);
	await liveSyncd(b, "kill");
});
