import assert from "node:assert/strict";
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { useWaiting } from "../../../src/loops/ldap/round.ts";
import { digestFiles, readDatabases } from "../../../src/services/ldap/directory.ts";
import { markerName } from "../../../src/services/ldap/places.ts";
import { type ScriptedHost, scriptedHost } from "../../services/zimbra/host.ts";
import { writeDirectory } from "./small-directory.ts";

const { signal } = new AbortController();
const place = "mdb/db";

/** A host whose LDAP serves one copy, while a newer one waits. */
async function hostWithCopies(): Promise<ScriptedHost> {
	const host = await scriptedHost();
	for (const [directory, transaction] of [
		[host.path("data/ldap"), 7],
		[next(host), 8],
	] as const) {
		writeDirectory(directory, place, transaction);
		await mark(host, directory, transaction);
	}
	return host;
}

async function mark(host: ScriptedHost, directory: string, transaction: number): Promise<void> {
	const databases = await readDatabases(directory, host.path("data/ldap"), host.home);
	const copy = {
		id: String(transaction),
		transactionIds: { [place]: transaction },
		sources: {},
		files: await digestFiles(directory, databases),
		takenAt: transaction,
	};
	writeFileSync(join(directory, markerName), JSON.stringify(copy));
}

const next = (host: ScriptedHost): string => host.path("live_sync/ldap/next");
const inUse = (host: ScriptedHost): string =>
	JSON.parse(readFileSync(host.path("data/ldap", markerName), "utf8")).id;

test("a copy that waits is not put over a directory of which nobody can tell whether it was written to", async () => {
	await using host = await hostWithCopies();
	const hdb = "dn: olcDatabase={3}hdb\nolcDatabase: {3}hdb\nolcDbDirectory: data/ldap/hdb/db\n";
	for (const directory of [host.path("data/ldap"), next(host)]) {
		mkdirSync(join(directory, "hdb/db"), { recursive: true });
		writeFileSync(join(directory, "config/cn=config/olcDatabase={3}hdb.ldif"), hdb);
	}
	// Were it put in use, this would refuse it.
	writeFileSync(join(next(host), "config/evil.so"), "");
	await useWaiting(host.config, host.log, signal);
	assert.equal(inUse(host), "7");
	assert.equal(existsSync(next(host)), true);
});

const hostile: Record<string, readonly [(copy: string) => void, RegExp]> = {
	"loads a module of its own": [
		(copy) =>
			writeFileSync(
				join(copy, "config/cn=config/cn=module{0}.ldif"),
				"dn: cn=module{0}\nolcModuleLoad: /tmp/evil.so\n",
			),
		/cn=module\{0\}\.ldif: olcmoduleload: \/tmp\/evil\.so is not taken over/,
	],
	"has a module among its configuration": [
		(copy) => writeFileSync(join(copy, "config/evil.so"), ""),
		/config\/evil\.so is no \.ldif file/,
	],
	"can be written by others": [
		(copy) => chmodSync(join(copy, "config/cn=config.ldif"), 0o666),
		/cn=config\.ldif has the mode 666/,
	],
	"has a directory of another kind": [
		(copy) => mkdirSync(join(copy, "redolog")),
		/redolog is neither of the configuration/,
	],
};

for (const [what, [spoil, said]] of Object.entries(hostile)) {
	test(`a copy that waits goes unused where it ${what}, whatever its marker says`, async () => {
		await using host = await hostWithCopies();
		spoil(next(host));
		await assert.rejects(useWaiting(host.config, host.log, signal), said);
		assert.equal(inUse(host), "7");
		assert.equal(existsSync(next(host)), false, "the next round fetches another one");
		await useWaiting(host.config, host.log, signal);
	});
}
