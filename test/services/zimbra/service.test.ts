import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { test } from "node:test";
import { accountExists } from "../../../src/services/zimbra/accounts.ts";
import { databaseService, ldapService } from "../../../src/services/zimbra/service.ts";
import { scriptedHost } from "./host.ts";

const { signal } = new AbortController();

/** A process whose command line reads `<name> …`, as a pid file's process must. */
async function process(name: string): Promise<{ pid: number } & Disposable> {
	const child = spawn("bash", ["-c", `exec -a ${name} sleep 600`], { stdio: "ignore" });
	await once(child, "spawn");
	await new Promise((resolve) => setTimeout(resolve, 100)); // until bash has become sleep
	return { pid: child.pid ?? 0, [Symbol.dispose]: () => void child.kill("SIGKILL") };
}

test("row 'mysql or ldap do not start': a database whose script prints failed and exits 0 did not start", async () => {
	await using host = await scriptedHost();
	await host.script(
		"mysql.server",
		'[ "$1" = start ] && echo "Starting mysqld...failed."; [ "$1" = start ]',
	);
	await host.script("mysqladmin", "exit 1");
	const result = await databaseService(host).start(signal);
	assert.equal(result.ok, false);
	assert.match(result.ok ? "" : result.problem, /mysql did not start .*failed\./);
	assert.match(result.ok ? "" : result.hint, /mysql_error\.log/);
});

test("ldap start that exits 1 because slapd runs already is a success", async () => {
	await using host = await scriptedHost();
	await host.script("ldap", '[ "$1" = start ] && exec >"$0.started"; exit 1');
	await host.script("zmprov", '[ -e "$(dirname "$0")/ldap.started" ]');
	assert.deepEqual(await ldapService(host).start(signal), { ok: true, changed: true });
});

test("a service that answers is not started", async () => {
	await using host = await scriptedHost();
	await host.script("mysql.server", 'exec >"$0.called"');
	await host.script("mysqladmin", "exit 0");
	assert.deepEqual(await databaseService(host).start(signal), { ok: true, changed: false });
	await assert.rejects(readFile(host.path("bin/mysql.server.called")), /ENOENT/);
});

test("a database that is still recovering when its script gives up is waited for", async () => {
	await using host = await scriptedHost();
	using server = await process("mysqld");
	await writeFile(host.path("log/mysql.pid"), `${server.pid}\n`);
	await host.script("mysql.server", 'echo "$1" >>"$0.calls"; [ "$1" != status ]');
	await host.script("mysqladmin", 'echo >>"$0.asked"; [ $(wc -l <"$0.asked") -gt 3 ]');
	assert.deepEqual(await databaseService(host).start(signal), { ok: true, changed: true });
});

test("a process that runs but never answers is given up after service_timeout", async () => {
	await using host = await scriptedHost({ service_timeout: "1s" });
	using server = await process("mysqld");
	await writeFile(host.path("db/mysql.pid"), `${server.pid}\n`);
	await host.script("mysql.server", "exit 0");
	await host.script("mysqladmin", "exit 1");
	const result = await databaseService(host).start(signal);
	assert.match(result.ok ? "" : result.problem, /runs but does not answer/);
});

test("ldap stop that exits 0 with slapd still up did not stop it", async () => {
	await using host = await scriptedHost({ service_timeout: "1s" });
	using slapd = await process("slapd");
	await writeFile(host.path("data/ldap/state/run/slapd.pid"), `${slapd.pid}\n`);
	await host.script("ldap", "exit 0");
	const result = await ldapService(host).stop(signal);
	assert.match(result.ok ? "" : result.problem, new RegExp(`still runs, process ${slapd.pid}`));
});

test("a stopped service is one whose process is gone, although its script exits 1", async () => {
	await using host = await scriptedHost();
	using slapd = await process("slapd");
	await writeFile(host.path("data/ldap/state/run/slapd.pid"), `${slapd.pid}\n`);
	await host.script("ldap", `[ "$1" = stop ] && kill ${slapd.pid}; exit 1`);
	assert.deepEqual(await ldapService(host).stop(signal), { ok: true, changed: true });
});

test("a pid file from the other host, naming a stranger, is not believed", async () => {
	await using host = await scriptedHost();
	using stranger = await process("postfix");
	await writeFile(host.path("data/ldap/state/run/slapd.pid"), `${stranger.pid}\n`);
	await host.script("ldap", '[ "$1" != status ]');
	await host.script("zmprov", "exit 1");
	const ldap = ldapService(host);
	assert.equal(await ldap.process(), undefined);
	assert.deepEqual(await ldap.stop(signal), { ok: true, changed: false });
});

test("slapd that answers without a pid file counts as running", async () => {
	await using host = await scriptedHost({ service_timeout: "1s" });
	await host.script("ldap", '[ "$1" != status ]');
	await host.script("zmprov", "exit 0");
	const result = await ldapService(host).stop(signal);
	assert.match(result.ok ? "" : result.problem, /ldap still runs/);
	await rm(host.path("bin/zmprov"));
});

test("an LDAP that answers while no slapd of this host has the database open is another host's", async () => {
	await using host = await scriptedHost();
	await host.script("ldap", 'echo "$1" >>"$0.calls"; exit 1');
	await host.script("zmprov", "exit 0");
	await mkdir(host.path("data/ldap/config/cn=config"), { recursive: true });
	await mkdir(host.path("data/ldap/mdb/db"), { recursive: true });
	await writeFile(host.path("data/ldap/mdb/db/lock.mdb"), "");
	await writeFile(
		host.path("data/ldap/config/cn=config/olcDatabase={2}mdb.ldif"),
		"dn: olcDatabase={2}mdb\nolcDatabase: {2}mdb\nolcDbDirectory: data/ldap/mdb/db\n",
	);
	const ldap = ldapService(host);
	assert.equal(await ldap.answers(signal), false);
	const result = await ldap.start(signal);
	assert.match(result.ok ? "" : result.problem, /ldap did not start/);
	assert.match(await readFile(host.path("bin/ldap.calls"), "utf8"), /^start$/m);
	assert.deepEqual(await ldap.stop(signal), { ok: true, changed: false });

	await host.script(
		"zmprov",
		'echo "ERROR: account.NO_SUCH_ACCOUNT (no such account: x)" >&2; exit 2',
	);
	await assert.rejects(accountExists(host, "x", signal), /is not known/);
	using slapd = await process("slapd");
	await writeFile(host.path("data/ldap/state/run/slapd.pid"), `${slapd.pid}\n`);
	await host.script("zmprov", "exit 0");
	assert.equal(await ldap.answers(signal), true);
});
