import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { SwapJournal } from "../../../src/formats/ldap/swap-plan.ts";
import { startAt } from "../../../src/formats/replay/replayed-position.ts";
import { repairSwap, takeSwapLock } from "../../../src/loops/ldap/swap.ts";
import { findPlaces, type LdapPlaces } from "../../../src/services/ldap/places.ts";
import { bootId, identify } from "../../../src/services/processes.ts";
import { writeRole } from "../../../src/services/role.ts";
import { writeRunRecord } from "../../../src/services/zimbra/run-record.ts";
import { type ScriptedHost, scriptedHost } from "../../services/zimbra/host.ts";

const { signal } = new AbortController();

test("where LDAP starts on neither copy the old one is in place, and a new one may come", async () => {
	await using host = await scriptedHost({ service_timeout: "1s" });
	const places = await cutShort(host, { phase: "rollback", snapshot: "s" });
	await host.script("ldap", "exit 1");
	await host.script("zmprov", "exit 1");
	await assert.rejects(repairSwap(host.config, host.log, signal), /on the previous copy/);
	assert.equal(generation(places.current), "old");
	assert.equal(generation(places.refused), "new");
	// Else each further try would end here, and no copy that mends it would ever be fetched.
	await repairSwap(host.config, host.log, signal);
});

test("on a server that was made the live one no exchange is undone", async () => {
	await using host = await scriptedHost();
	const places = await cutShort(host, { phase: "rollback", snapshot: "s" });
	await host.script("ldap", 'echo "$1" >>"$0.calls"');
	await host.script("zmprov", "exit 0");
	await writeRole(host.config.base.role, {
		version: 1,
		role: "live",
		timeline: 2,
		since: 0,
	});
	await assert.rejects(repairSwap(host.config, host.log, signal), /its LDAP is left alone/);
	assert.equal(generation(places.current), "new");
	assert.equal(existsSync(host.path("bin/ldap.calls")), false);
});

test("on a server that was made the live one an LDAP that does not start is not exchanged for the copy before", async () => {
	await using host = await scriptedHost({ service_timeout: "1s" });
	const places = await cutShort(host, { phase: "install", snapshot: "s" });
	await host.script("ldap", "exit 1");
	await host.script("zmprov", "exit 1");
	await writeRole(host.config.base.role, { version: 1, role: "live", timeline: 2, since: 0 });
	await assert.rejects(repairSwap(host.config, host.log, signal), /its LDAP is left alone/);
	assert.equal(generation(places.current), "new");
	assert.equal(generation(places.previous), "old");
});

test("no exchange beside a replay run whose loop is dead, though nobody holds the lock", async (t) => {
	await using host = await scriptedHost();
	const player = spawn("sleep", ["600"]);
	t.after(() => player.kill("SIGKILL"));
	const next = startAt({ serverId: "id", sequence: 1, createTime: 1, timeline: 1 });
	await writeRunRecord(host.config, {
		version: 1,
		token: "no process has it",
		directory: host.path("live_sync/status/slices/run"),
		bootId: bootId(),
		startedAt: 0,
		phase: "running",
		from: { ...next.log, offset: next.offset },
		next,
		files: [],
		operations: 1,
		log: { older: [] },
		processes: [identify(player.pid ?? 0) ?? assert.fail()],
		unknownEnds: 0,
	});
	let taken = false;
	const taking = takeSwapLock(host.config, host.log, signal, "ldap swap").then((lock) => {
		taken = true;
		return lock;
	});
	await sleep(2500);
	assert.equal(taken, false);
	player.kill("SIGKILL");
	await (await taking).release();
});

/** A crash right after the journal was written, with both copies whole. */
async function cutShort(host: ScriptedHost, journal: SwapJournal): Promise<LdapPlaces> {
	const places = await findPlaces(host.config);
	for (const [directory, name] of [
		[places.current, "new"],
		[places.previous, "old"],
	] as const) {
		mkdirSync(directory, { recursive: true });
		writeFileSync(`${directory}/generation`, name);
	}
	writeFileSync(places.journal, JSON.stringify(journal));
	return places;
}

const generation = (directory: string): string => readFileSync(`${directory}/generation`, "utf8");
