import assert from "node:assert/strict";
import { chmodSync, existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { Host } from "../../pair/host.ts";
import type { Pair } from "../../pair/pair.ts";
import { ldapUrl } from "../../pair/store/accounts.ts";
import {
	checkWhole,
	configure,
	Directory,
	installedCopy,
	ldapPair,
	placeOf,
	readLog,
	readState,
	startLoop,
	waitFor,
} from "./support.ts";

const installPoints = [
	"ldap-round:after-pull",
	"ldap-round:before-check",
	"ldap-swap:before-stop",
	"ldap-swap:after-stop",
	"ldap-swap:after-previous-to-discarded",
	"ldap-swap:after-current-to-previous",
	"ldap-swap:after-next-to-current",
	"ldap-swap:before-start",
	"ldap-swap:after-start",
	"ldap-swap:before-cleaning",
];

test("killed at any step of the swap, LDAP is back on a whole copy at the next start", async () => {
	await using pair = await ldapPair({ ldap: { writemap: true, entries: 30 } });
	const { a, b } = pair;
	const live = new Directory(a);
	await settle(pair, "before");
	// A second one, so that there is a previous copy.
	await settle(pair, "before2");
	for (const [number, point] of installPoints.entries()) {
		await live.addAccount(`crash${number}`);
		assert.equal(await startLoop(b, point).ended, "SIGKILL", point);
		await expectRepaired(pair, point);
	}
	await settle(pair, "after");
	for (const number of installPoints.keys()) {
		assert.equal(await new Directory(b).hasAccount(`crash${number}`), true);
	}
});

const rollbackPoints = [
	"ldap-rollback:before-stop",
	"ldap-rollback:after-current-to-refused",
	"ldap-rollback:after-previous-to-current",
	"ldap-rollback:after-discarded-to-previous",
	"ldap-rollback:before-start",
];

test("a copy with which LDAP does not answer is taken back in the same run, or after a crash in it", async () => {
	await using pair = await ldapPair({ settings: { service_timeout: "6s" } });
	const { a, b } = pair;
	refusePoison(b);
	const live = new Directory(a);
	await settle(pair, "first");
	await settle(pair, "second");
	const good = installedCopy(b)?.id;
	await live.addAccount("poison");

	// In the same run.
	const loop = startLoop(b);
	await waitFor("the refusal", b, () => readLog(b).includes("the previous copy is in use again"));
	assert.equal(installedCopy(b)?.id, good);
	assert.equal(await new Directory(b).hasAccount("second"), true);
	await waitFor("the problem", b, () =>
		readState(b)?.problems.some(({ message }) => message.includes("the previous copy is in use")),
	);
	await loop.stop();
	assert.equal(existsSync(placeOf(b, "refused/config")), true, "kept for inspection");

	// After a crash.
	for (const point of rollbackPoints) {
		assert.equal(await startLoop(b, point).ended, "SIGKILL", point);
		await expectRepaired(pair, point);
		assert.equal(installedCopy(b)?.id, good, point);
	}

	// A repair that is cut short is repaired.
	for (const point of ["ldap-repair:before-renames", "ldap-repair:before-start"]) {
		assert.equal(await startLoop(b, "ldap-swap:after-current-to-previous").ended, "SIGKILL");
		assert.equal(await startLoop(b, point).ended, "SIGKILL", point);
		await expectRepaired(pair, point);
		assert.equal(installedCopy(b)?.id, good, point);
	}

	await live.deleteAccount("poison");
	await settle(pair, "third");
});

/** With the live server away nothing but the repair can have mended it. */
async function expectRepaired({ a, b }: Pair, point: string): Promise<void> {
	await a.sshd.stop();
	const loop = startLoop(b);
	const mirror = new Directory(b);
	await waitFor(`LDAP after ${point}`, b, async () => {
		const whole = !existsSync(placeOf(b, "swap.json")) && readState(b)?.phase === "waiting";
		return whole && (await mirror.search("", "(objectClass=*)", "1.1")) !== undefined;
	});
	assert.equal(await loop.stop(), 0);
	assert.equal(await checkWhole(b), installedCopy(b)?.entries, point);
	// There the swap is over; whoever needs the lock next takes it from the dead.
	const locked = existsSync(b.path("live_sync/lock/live_sync.lock"));
	assert.equal(locked, point === "ldap-swap:before-cleaning", point);
	await a.sshd.start(a.environment);
}

/** The loop, until the mirror has a change made now. */
async function settle({ a, b }: Pair, name: string): Promise<void> {
	await new Directory(a).addAccount(name);
	const loop = startLoop(b);
	await waitFor(name, b, () => new Directory(b).hasAccount(name));
	await waitFor("its end", b, () => !existsSync(placeOf(b, "swap.json")));
	assert.equal(await loop.stop(), 0);
	assert.equal(await checkWhole(b), installedCopy(b)?.entries);
}

/** A check command that says LDAP does not answer, where that account is in it. */
function refusePoison(host: Host): void {
	const check = join(host.directory, "ldap-check");
	const search = `ldapsearch -x -LLL -H '${ldapUrl(host.directory)}' -b ''`;
	writeFileSync(
		check,
		`#!/bin/sh\n${search} -s base 1.1 >/dev/null 2>&1 || exit 1\n! ${search} '(uid=poison)' uid | grep -q ^uid\n`,
	);
	chmodSync(check, 0o755);
	configure(host, { ldap_check_command: check });
}
