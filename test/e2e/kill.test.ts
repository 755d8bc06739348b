import assert from "node:assert/strict";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { Host } from "../pair/host.ts";
import { createPair, type Pair } from "../pair/pair.ts";
import { lives } from "../pair/processes.ts";
import { until } from "../pair/until.ts";
import {
	assertNothingRuns,
	begin,
	caughtUp,
	killLoop,
	liveSyncd,
	loops,
	quickly,
	redologs,
} from "./support.ts";

/** So slow that the first pull of a directory takes minutes, and so little that ssh works. */
const trickle = 8000;
const large = { writemap: true, entries: 4000 } as const;

test("kill in the middle of a pull of LDAP leaves nothing, and slapd as it was", async () => {
	await using pair = await createPair({ ldap: large, proxy: true, ...quickly });
	const { b } = pair;
	await startSlowPull(pair);
	await endsAll(b);
	await assertNothingRuns(pair);
});

test("kill in the middle of the check of a large LDAP copy leaves nothing, and slapd as it was", async () => {
	await using pair = await createPair({ ldap: true, ...quickly });
	const { b } = pair;
	// As long as a directory of gigabytes takes.
	const slapcat = b.path("bin/slapcat");
	writeFileSync(slapcat, "#!/bin/sh\nsleep 600\n");
	chmodSync(slapcat, 0o755);
	b.spawnLiveSyncd("loop", "ldap");
	await until("the check", () => running(b, /sleep 600/).length > 0);
	await endsAll(b);
	await assertNothingRuns(pair);
});

test("kill, or Ctrl-C, while start proves the LDAP path leaves nothing, and the redo log as it was", async () => {
	await using pair = await createPair({ ...quickly });
	const { b } = pair;
	const slapcat = b.path("bin/slapcat");
	writeFileSync(slapcat, "#!/bin/sh\nsleep 600\n");
	chmodSync(slapcat, 0o755);
	const before = redologs(b);
	for (const end of ["kill", "SIGINT"] as const) {
		const start = begin(b, "start");
		await until("the check", () => running(b, /sleep 600/).length > 0);
		await until("it is told", () => /Proving the LDAP path: .*\(\d+ s\)\.\.\./.test(start.said()));
		if (end === "kill") await liveSyncd(b, "kill");
		else start.child.kill(end);
		assert.notEqual(await start.ended, 0);
		await assertNothingRuns(pair);
		assert.deepEqual(redologs(b), before);
	}
	assert.equal(
		JSON.parse(readFileSync(b.path("live_sync/status/role.json"), "utf8")).role,
		"unknown",
	);
});

test("the LDAP loop killed with SIGKILL in a pull: the next one does not pull beside what is left of it", async () => {
	await using pair = await createPair({ ldap: large, proxy: true, ...quickly });
	const { b } = pair;
	const orphans = await startSlowPull(pair);
	killLoop(b, "ldap");
	await until("the loop is gone", () => loops(b, "ldap").length === 0);
	assert.deepEqual(orphans.map(lives), [true, true], "a pull outlives its loop");

	const started = liveSyncd(b, "start");
	await until("a second pull", () => {
		const pulls = running(b, /^rsync /);
		const ours = pulls.filter((pid) => !orphans.includes(pid));
		if (ours.length === 0) return false;
		assert.deepEqual(orphans.filter(lives), [], "two write to one staging directory");
		return true;
	});
	await started;
	pair.links.toA.heal();
	await caughtUp(pair);
	await until("a copy in use", async () => {
		const { stdout } = await b.liveSyncd("status", "--json");
		return JSON.parse(stdout).ldap.state?.installed !== undefined;
	});
	await liveSyncd(b, "kill");
	await assertNothingRuns(pair);
});

test("stop after the LDAP loop was killed in a pull leaves nothing of it", async () => {
	await using pair = await createPair({ ldap: large, proxy: true, ...quickly });
	const { b } = pair;
	await startSlowPull(pair);
	killLoop(b, "ldap");
	await liveSyncd(b, "stop");
	assert.deepEqual(strays(b), []);
});

/** Returns the two processes of rsync when some of the directory has come. */
async function startSlowPull({ b, links }: Pair): Promise<number[]> {
	links.toA.limit(trickle);
	b.spawnLiveSyncd("loop", "ldap");
	const pulling = () => running(b, /^rsync /);
	await until("a pull", async () => {
		if (pulling().length !== 2) return false;
		// What is to become its ssh bears its name for a moment too.
		await sleep(500);
		return pulling().length === 2;
	});
	return pulling();
}

/** `kill`, at once. */
async function endsAll(host: Host): Promise<void> {
	const slapd = host.servicePid("ldap");
	assert.ok(slapd !== undefined);
	await liveSyncd(host, "kill");
	assert.deepEqual(strays(host), []);
	assert.equal(
		host.servicePid("ldap"),
		slapd,
		"LDAP was started by the loop, and is no part of it",
	);
}

const strays = (host: Host): string[] => host.strayProcesses().map(({ command }) => command);

const running = (host: Host, command: RegExp): number[] =>
	host
		.processes()
		.filter((each) => command.test(each.command))
		.map(({ pid }) => pid);
