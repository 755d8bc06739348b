import assert from "node:assert/strict";
import { chmodSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import type { Host } from "../pair/host.ts";
import { initialCopy } from "../pair/initial-copy.ts";
import { createPair } from "../pair/pair.ts";
import { assertNothingRuns, liveSyncd, loops, quickly } from "./support.ts";

/** Every file of a host that a mirror works with, with what is in it. */
function files(host: Host): Map<string, string> {
	const found = new Map<string, string>();
	for (const below of ["redolog", "conf", "live_sync/status", "live_sync/ldap", "live_sync/pid"]) {
		if (!existsSync(host.path(below))) continue;
		for (const entry of readdirSync(host.path(below), { recursive: true, withFileTypes: true })) {
			const path = `${entry.parentPath}/${entry.name}`;
			found.set(path, entry.isFile() ? readFileSync(path, "latin1") : "directory");
		}
	}
	return found;
}

const codesIn = (said: string): string[] =>
	[...said.matchAll(/^\[([\w-]+)\] .*; try: \S/gm)].map(([, code = ""]) => code);

test("start --check before the initial copy tells all that start would refuse, a line each, and changes nothing", async () => {
	await using pair = await createPair({
		copied: false,
		...quickly,
		zimbraSettings: {
			...quickly.zimbraSettings,
			zimbraRedoLogDeleteOnRollover: "TRUE",
			zimbraRedoLogArchiveDir: "/backup/redolog",
		},
	});
	const { a, b } = pair;
	// There is none on a new server.
	rmSync(b.path("redolog"), { recursive: true });
	await a.mustRun("zmmailboxdctl", "stop");
	const tool = a.path("bin/mdb_copy");
	writeFileSync(tool, "#!/bin/sh\nexit 28\n");
	chmodSync(tool, 0o755);
	// It makes the directories of the base directory.
	await b.liveSyncd("start", "--check");
	const before = files(b);
	const said = await liveSyncd(b, "start --check", 1);
	assert.deepEqual(codesIn(said), [
		"no-initial-copy",
		"peer-not-live",
		"deleting-rollover",
		"redolog-elsewhere",
		"ldap-path",
	]);
	assert.match(said, /^not checked, since they come with the initial copy: /m);
	assert.match(said, /would be refused: 5 reasons\n$/);
	assert.deepEqual(files(b), before);
	await assertNothingRuns(pair);

	rmSync(tool);
	for (const [name, value] of [
		["zimbraRedoLogDeleteOnRollover", "FALSE"],
		["zimbraRedoLogArchiveDir", "redolog/archive"],
	] as const) {
		await a.mustRun("zmprov", "-l", "mcf", name, value);
	}
	await a.startZimbra().catch(() => undefined);
	assert.deepEqual(codesIn(await liveSyncd(b, "start --check", 1)), ["no-initial-copy"]);
	await a.stopZimbra();
	await initialCopy(a, b);
	await a.startZimbra();
	assert.match(await liveSyncd(b, "start --check"), /Nothing stands in the way/);
	assert.equal(existsSync(b.path("live_sync/status/role.json")), false);
	// The copy of one that was killed takes no room for ever.
	b.environment.LIVE_SYNC_FAIL_AT = "ldap-round:after-pull";
	await b.liveSyncd("start", "--check");
	delete b.environment.LIVE_SYNC_FAIL_AT;
	assert.equal(existsSync(b.path("live_sync/ldap/trial")), true);
	await liveSyncd(b, "start");
	assert.equal(existsSync(b.path("live_sync/ldap/trial")), false);
	const running = [loops(b, "redo"), loops(b, "ldap")];
	assert.match(await liveSyncd(b, "start --check"), /Both loops run already/);
	assert.deepEqual([loops(b, "redo"), loops(b, "ldap")], running);
	await liveSyncd(b, "kill");
});

test("start --check tells of both servers at once: history of our own here, the name, and what is wrong there", async () => {
	await using pair = await createPair({ ...quickly });
	const { a, b } = pair;
	await b.startZimbra();
	await b.mailbox.deliver({ to: ["user1@example.net"] });
	await b.stopZimbra();
	const localconfig = b.path("conf/localconfig.xml");
	const right = readFileSync(localconfig, "utf8");
	writeFileSync(localconfig, right.replace("localhost", "192.0.2.7"));
	await a.mailbox.deliver({ to: ["user1@example.net"] });
	await a.mustRun("zmprov", "-l", "mcf", "zimbraRedoLogDeleteOnRollover", "TRUE");
	await b.liveSyncd("start", "--check");
	const before = files(b);
	const said = await liveSyncd(b, "start --check", 1);
	assert.deepEqual(codesIn(said), ["host-name", "deleting-rollover", "history-ends"]);
	assert.deepEqual(files(b), before);
	assert.equal((await b.liveSyncd("start", "--check", "--set-aside-own-history")).code, 2);
	await assertNothingRuns(pair);
});
