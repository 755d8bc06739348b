import assert from "node:assert/strict";
import { chmodSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { pino } from "pino";
import { loadConfig } from "../../../src/services/config.ts";
import { takeLock } from "../../../src/services/lock.ts";
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

test("stop and kill repair an exchange that was cut short, with the live server dead", async () => {
	await using pair = await ldapPair();
	const { a, b } = pair;
	await settle(pair, "before");
	for (const command of ["kill", "stop"]) {
		await new Directory(a).addAccount(`new-${command}`);
		assert.equal(await startLoop(b, "ldap-swap:after-current-to-previous").ended, "SIGKILL");
		// Zimbra's script makes it whenever it is asked anything, and it is no LDAP directory.
		await b.run("ldap", "status");
		assert.deepEqual(readdirSync(b.path("data/ldap")), ["state"]);
		await a.sshd.stop();
		delete b.environment.LIVE_SYNC_FAIL_AT;
		const { code, stdout, stderr } = await b.liveSyncd(command);
		assert.equal(code, 0, `${stdout}${stderr}`);
		assert.equal(existsSync(placeOf(b, "swap.json")), false);
		assert.equal(await new Directory(b).hasAccount("before"), true);
		assert.equal(await checkWhole(b), installedCopy(b)?.entries);
		await a.sshd.start(a.environment);
	}
});

test("stop is not done while there is no LDAP directory, and the next one mends that", async () => {
	await using pair = await ldapPair({ settings: { replay_timeout: "2s" } });
	const { a, b } = pair;
	await settle(pair, "before");
	await new Directory(a).addAccount("new");
	assert.equal(await startLoop(b, "ldap-swap:after-current-to-previous").ended, "SIGKILL");
	delete b.environment.LIVE_SYNC_FAIL_AT;
	const log = pino({ level: "silent" });
	const { base } = await loadConfig(b.confFile);
	const signal = AbortSignal.timeout(60_000);
	const lock = await takeLock(base.lock, { purpose: "something that hangs", signal, log });
	const { code, stdout, stderr } = await b.liveSyncd("stop");
	assert.notEqual(code, 0);
	assert.doesNotMatch(stdout, /^done$/m);
	assert.match(stderr, /data\/ldap was cut short and is not repaired/);
	await lock.release();
	assert.equal((await b.liveSyncd("stop")).code, 0);
	assert.equal(await new Directory(b).hasAccount("before"), true);
});

const rollbackPoints = [
	"ldap-rollback:before-stop",
	"ldap-rollback:after-current-to-refused",
	"ldap-rollback:after-previous-to-current",
	"ldap-rollback:after-discarded-to-previous",
	"ldap-rollback:before-start",
];

test("a copy with which LDAP does not answer is taken back in the same run, or after a crash in it", async () => {
	await using pair = await ldapPair({ settings: { service_timeout: "15s" } });
	const { a, b } = pair;
	const dies = refusePoison(b);
	const live = new Directory(a);
	await settle(pair, "first");
	await settle(pair, "second");
	const good = installedCopy(b)?.id;
	await live.addAccount("poison");

	// In the same run.
	const loop = startLoop(b);
	await waitFor("the refusal", b, () => readLog(b).includes("the previous copy is in use again"));
	await waitFor("the problem", b, () =>
		readState(b)?.problems.some(({ message }) => message.includes("the previous copy is in use")),
	);
	await loop.stop(); // or it would try the same again meanwhile
	assert.equal(installedCopy(b)?.id, good);
	assert.equal(await new Directory(b).hasAccount("second"), true);
	assert.equal(existsSync(placeOf(b, "refused/config")), true, "kept for inspection");

	// After a crash.
	writeFileSync(dies, "");
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

test("a slapd that somebody starts in the middle of an exchange, on what is moved away, is not taken for the new copy", async () => {
	await using pair = await ldapPair();
	const { a, b } = pair;
	await settle(pair, "first");
	const flag = join(b.directory, "stray");
	straySlapd(b, flag);
	writeFileSync(flag, "");
	await new Directory(a).addAccount("second");
	await using _loop = startLoop(b);
	await waitFor("it to be said", b, () => /serves from the copy before/.test(readLog(b)));
	await waitFor("the new copy", b, () => new Directory(b).hasAccount("second"));
	await waitFor("its end", b, () => readState(b)?.problems.length === 0);
	assert.equal(await checkWhole(b), installedCopy(b)?.entries);
});

test("a slapd that does not answer, and that neither script nor pid file know, is not taken for one that has stopped", async () => {
	await using pair = await ldapPair();
	const { a, b } = pair;
	await settle(pair, "first");
	const slapd = b.servicePid("ldap");
	const good = installedCopy(b)?.id;
	forgetfulScript(b);
	await new Directory(a).addAccount("second");
	await using _loop = startLoop(b);
	await waitFor("it to be said", b, () => /has .*data\/ldap open; end it: kill/.test(readLog(b)));
	assert.equal(installedCopy(b)?.id, good);
	assert.match(readLog(b), new RegExp(`process ${slapd} \\(slapd\\)`));
	assert.equal(await new Directory(b).hasAccount("first"), true);
});

/** A slapd without its pid file, which nothing stops; from `stop` to `start` it does not answer. */
function forgetfulScript(host: Host): void {
	const [script, check] = [host.path("bin/ldap.forgetful"), host.path("bin/ldap.check")];
	const silent = join(host.directory, "silent");
	rmSync(host.path("data/ldap/state/run/slapd.pid"));
	writeFileSync(
		script,
		`#!/bin/sh
case $1 in
stop) touch ${silent} ;;
start) rm -f ${silent} ;;
*) exit 1 ;;
esac
`,
	);
	writeFileSync(check, `#!/bin/sh\n[ ! -f ${silent} ]\n`);
	for (const each of [script, check]) chmodSync(each, 0o755);
	configure(host, { ldap_command: `${script} {action}`, ldap_check_command: check });
}

/** While the flag is there, `ldap start` starts slapd on the previous copy, once. */
function straySlapd(host: Host, flag: string): void {
	const [usual, stray] = [host.path("bin/ldap"), host.path("bin/ldap.stray")];
	const config = join(host.directory, "stray-config");
	writeFileSync(stray, readFileSync(usual, "utf8").replace("-F data/ldap/config", `-F ${config}`));
	const script = host.path("bin/ldap.sometimes");
	writeFileSync(
		script,
		`#!/bin/sh
[ "$1" = start ] && [ -f ${flag} ] || exec ${usual} "$1"
rm ${flag}
cp -r ${placeOf(host, "previous/config")} ${config}
sed -i 's,^olcDbDirectory: .*,olcDbDirectory: ${placeOf(host, "previous/mdb/db")},' ${config}/cn=config/*.ldif
exec ${stray} start
`,
	);
	for (const each of [stray, script]) chmodSync(each, 0o755);
	configure(host, { ldap_command: `${script} {action}` });
}

/** With the live server away nothing but the repair can have mended it. */
async function expectRepaired({ a, b }: Pair, point: string): Promise<void> {
	await a.sshd.stop();
	rmSync(b.path("live_sync/status/ldap.json"), { force: true }); // by the loop that was killed
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

/**
 * A check command that says LDAP does not answer, where that account is in it; with the file that is
 * returned slapd is gone then too, so that nobody waits for it.
 */
function refusePoison(host: Host): string {
	const [check, dies] = [join(host.directory, "ldap-check"), join(host.directory, "dies")];
	const end = `[ ! -e ${dies} ] || kill -9 $(cat ${host.path("data/ldap/state/run/slapd.pid")})`;
	const search = `ldapsearch -x -LLL -H '${ldapUrl(host.directory)}' -b ''`;
	writeFileSync(
		check,
		`#!/bin/sh\n${search} -s base 1.1 >/dev/null 2>&1 || exit 1\n${search} '(uid=poison)' uid | grep -q ^uid || exit 0\n${end}\nexit 1\n`,
	);
	chmodSync(check, 0o755);
	configure(host, { ldap_check_command: check });
	return dies;
}
