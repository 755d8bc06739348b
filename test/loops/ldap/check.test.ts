import assert from "node:assert/strict";
import { mkdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { checkCopy, type Expected } from "../../../src/loops/ldap/check.ts";
import { describeContents } from "../../../src/services/ldap/copies.ts";
import { type ScriptedHost, scriptedHost } from "../../services/zimbra/host.ts";
import { metaPages, writeDatabase, writeDirectory } from "./small-directory.ts";

const { signal } = new AbortController();
const place = "mdb/db";

test("a copy that is whole passes, and its entries are counted", async () => {
	await using host = await scriptedHost();
	assert.equal(await check(host, await makeCopy(host)), 2);
});

test("a copy passes though a live server of version 2.0 names files that are not fetched", async () => {
	await using host = await scriptedHost();
	const expected = await makeCopy(host);
	const [file] = expected.contents ?? [];
	assert.ok(file !== undefined);
	const others = ["config/cn=config.ldif.old", "ldap.bak/data.mdb"];
	const contents = [...(expected.contents ?? []), ...others.map((path) => ({ ...file, path }))];
	assert.equal(await check(host, { ...expected, contents }), 2);
});

// Each alone refuses: broken copies have passed any one of the others.
const faults: Record<string, readonly [(host: ScriptedHost, copy: string) => unknown, RegExp]> = {
	"mdb_dump fails": [(host) => host.script("mdb_dump", "exit 1"), /mdb_dump .* exited with 1/],
	"mdb_dump is killed by what it reads": [
		(host) => host.script("mdb_dump", "kill -SEGV $$"),
		/mdb_dump .* was killed by SIGSEGV/,
	],
	"slapcat fails": [(host) => host.script("slapcat", "echo dn: a; exit 1"), /slapcat .* exited/],
	"slapcat reads fewer entries, and exits with 0": [
		(host) => host.script("slapcat", "echo dn: a"),
		/slapcat reads 1 entries of mdb\/db, the live server has 2/,
	],
	"another transaction": [
		(_, copy) => writeFileSync(join(copy, place, "data.mdb"), metaPages(8)),
		/mdb\/db is at transaction 8, the live server said 7/,
	],
	"a file is missing": [
		(_, copy) => rmSync(join(copy, "config/cn=config.ldif")),
		/cn=config\.ldif is missing/,
	],
	"a file is another one": [
		(_, copy) => writeFileSync(join(copy, "config/cn=config.ldif"), "dn: cn=confiG\n"),
		/cn=config\.ldif is not the file of the live server/,
	],
	"a file more": [
		(_, copy) => writeFileSync(join(copy, "config/more.ldif"), ""),
		/more\.ldif is not in the snapshot/,
	],
	"cn=config has a file that slapd does not read there": [
		(_, copy) => writeFileSync(join(copy, "config/cn=config/evil.so"), ""),
		/config\/cn=config\/evil\.so is no \.ldif file/,
	],
	"anything lies beside the configuration and its databases": [
		(_, copy) => mkdirSync(join(copy, "redolog")),
		/redolog is neither of the configuration nor of a database that it names/,
	],
	"cn=config has more text than one has": [
		(_, copy) => truncateSync(join(copy, "config/cn=config.ldif"), 17 * 2 ** 20),
		/cn=config has more than 2000 files or 16 MiB/,
	],
	"cn=config has more files than one has": [
		(_, copy) => {
			for (let i = 0; i < 2001; i++) writeFileSync(join(copy, `config/cn=${i}.ldif`), "");
		},
		/cn=config has more than 2000 files or 16 MiB/,
	],
	"a DB_CONFIG is longer than one is": [
		(_, copy) => {
			writeFileSync(join(copy, place, "DB_CONFIG"), "");
			truncateSync(join(copy, place, "DB_CONFIG"), 2 ** 21);
		},
		/mdb\/db\/DB_CONFIG is not taken over: it has more than 1 MiB/,
	],
	"cn=config without the database": [
		(_, copy) => writeDatabase(copy, "mdb/other"),
		/cn=config does not name mdb\/db/,
	],
};

for (const [what, [spoil, said]] of Object.entries(faults)) {
	test(`invariant 8: a copy is refused where ${what}`, async () => {
		await using host = await scriptedHost();
		const expected = await makeCopy(host);
		await spoil(host, copyOf(host));
		await assert.rejects(check(host, expected), said);
	});
}

const copyOf = (host: ScriptedHost): string => host.path("live_sync/ldap/next");

function check(host: ScriptedHost, expected: Expected): Promise<number | undefined> {
	const { run } = host;
	const config = { ...host.config, localAddress: "192.0.2.2", remoteAddress: "192.0.2.1" };
	const scratch = host.path("live_sync/ldap/check");
	return checkCopy({ config, run, signal, copy: copyOf(host), scratch }, expected);
}

/** A copy, tools that find it whole, and what the live server says about it. */
async function makeCopy(host: ScriptedHost): Promise<Expected> {
	const copy = copyOf(host);
	writeDirectory(copy, place, 7);
	await host.script("mdb_dump", "exit 0");
	await host.script("slapcat", 'printf "dn: a\\n\\ndn: b\\n"');
	return {
		transactionIds: { [place]: 7 },
		entries: { [place]: 2 },
		contents: await describeContents(copy),
	};
}
