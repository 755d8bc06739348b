import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { endRound, forRound } from "../../../src/services/ldap/round-processes.ts";
import { until } from "../../pair/until.ts";
import { scriptedHost } from "../zimbra/host.ts";

const { signal } = new AbortController();

test("what a round has started is found without its loop, its children too; that of another installation is left alone", async () => {
	await using host = await scriptedHost();
	await using other = await scriptedHost();
	const start = async (each: typeof host) => {
		const up = each.path("up");
		const command = ["sh", "-c", `sleep 600 & sleep 600 & : >${up}; wait`];
		const ended = forRound(each.config, each.run)(command, { timeoutMs: 60_000, signal });
		await until("its children run", () => existsSync(up));
		return { ended };
	};
	const [ours, theirs] = await Promise.all([start(host), start(other)]);
	assert.equal((await endRound(host.config)).length, 3);
	await ours.ended;
	assert.deepEqual(await endRound(host.config), []);
	assert.equal((await endRound(other.config)).length, 3);
	await theirs.ended;
});

test("a slapcat whose environment the kernel hides, because the file has a capability, is told by its words", async () => {
	await using host = await scriptedHost();
	const check = join(host.config.base.ldap, "check");
	const slapcat = start(["slapcat", "-F", check, "-n", "2"]);
	const another = start(["slapcat", "-F", join(host.home, "data/ldap/config")]);
	try {
		assert.deepEqual(
			(await endRound(host.config)).map(({ pid }) => pid),
			[slapcat.pid],
		);
		assert.equal(another.signalCode ?? another.exitCode, null);
	} finally {
		another.kill("SIGKILL");
		slapcat.kill("SIGKILL");
	}
});

/** A process with these words, and nothing in its environment. */
const start = (words: readonly string[]): ChildProcess =>
	spawn("/bin/sh", ["-c", "read -r nothing", ...words], {
		env: {},
		stdio: ["pipe", "ignore", "ignore"],
	});
