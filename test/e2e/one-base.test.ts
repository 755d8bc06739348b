import assert from "node:assert/strict";
import { cpSync, readdirSync, renameSync, rmSync } from "node:fs";
import { test } from "node:test";
import type { Host } from "../pair/host.ts";
import { createPair } from "../pair/pair.ts";
import { until } from "../pair/until.ts";
import {
	assertExecutedOnce,
	assertNothingRuns,
	begin,
	caughtUp,
	deliver,
	killLoops,
	liveSyncd,
	loops,
	quickly,
} from "./support.ts";

test("a second base directory on the same Zimbra neither starts, replays nor repairs beside the loops of the first", async () => {
	await using pair = await createPair({ ...quickly });
	const { b } = pair;
	// As an admin has it who tries a new configuration in a copy.
	copyBase(b, b.path("second"));
	await liveSyncd(b, "start");
	await deliver(pair, 5);
	await caughtUp(pair);

	for (const command of ["start", "stop", "kill"]) {
		const said = await second(b, command, 1);
		assert.match(said, /another base directory, \S+\/live_sync, .*\[other-base\]/, command);
		assert.match(said, /\n {2}try: .*live_sync\/live_sync\.conf stop/, command);
	}
	await second(b, "loop redo", 1);
	await second(b, "loop ldap", 1);
	assert.equal(loops(b, "redo").length + loops(b, "ldap").length, 2, "those of the first go on");

	// What loops have left that were killed is in nobody's way.
	killLoops(b);
	await until("the loops are gone", () => loops(b, "redo").length + loops(b, "ldap").length === 0);
	await liveSyncd(b, "start");
	await liveSyncd(b, "stop");
	assertExecutedOnce(pair);
	const left = readdirSync(b.path("redolog")).filter((name) => name.startsWith(".live_sync.loop"));
	assert.deepEqual(left, []);
	await assertNothingRuns(pair);
});

test("of loops of two base directories that begin at once, at most one goes on", async () => {
	await using pair = await createPair({ ...quickly });
	const { b } = pair;
	copyBase(b, b.path("second"));
	const first = begin(b, "loop redo");
	const other = begin(b, `--config ${b.path("second/live_sync.conf")} loop redo`);
	const ended = (child: { exitCode: number | null }) => child.exitCode !== null;
	await until("one has ended", () => ended(first.child) || ended(other.child));
	for (const { child } of [first, other]) child.kill("SIGTERM");
	const codes = await Promise.all([first.ended, other.ended]);
	assert.ok(codes.includes(1), String(codes));
});

test("a base directory that another one has overtaken is refused by start and stop: nothing is executed twice, nothing passed over", async () => {
	await using pair = await createPair({ ...quickly });
	const { b } = pair;
	const fresh = b.path("fresh");
	copyBase(b, fresh);
	const follow = async (base: string) => {
		await liveSyncd(b, `--config ${base}/live_sync.conf start`);
		await deliver(pair, 3);
		await caughtUp(pair, { base });
		await liveSyncd(b, `--config ${base}/live_sync.conf stop`);
	};
	await follow(b.path("live_sync"));
	const old = b.path("second");
	copyBase(b, old);
	await follow(b.path("live_sync"));

	for (const base of [old, fresh]) {
		for (const command of ["start", "stop"]) {
			const said = await liveSyncd(b, `--config ${base}/live_sync.conf ${command}`, 1);
			assert.match(said, /another base directory, \S+\/live_sync, .*\[other-base\]/);
		}
	}
	// A base directory that was moved knows all that the former one knew.
	rmSync(`${fresh}/status`, { recursive: true });
	renameSync(b.path("live_sync/status"), `${fresh}/status`);
	await follow(fresh);
	assertExecutedOnce(pair);
});

/** A base directory without its copies of LDAP, which slapd has made sparse files of 80 GiB of. */
function copyBase(host: Host, to: string): void {
	const ldap = host.path("live_sync/ldap");
	const filter = (path: string) => !path.startsWith(`${ldap}/`);
	cpSync(host.path("live_sync"), to, { recursive: true, filter });
}

/** The same program with the other base directory. */
const second = (host: Host, words: string, code: number): Promise<string> =>
	liveSyncd(host, `--config ${host.path("second/live_sync.conf")} ${words}`, code);
