import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { ownIdentity } from "../../../src/services/processes.ts";
import { makeDatabase, sameDatabase } from "../../../src/services/zimbra/database.ts";
import { makeDurable } from "../../../src/services/zimbra/durability.ts";
import { scriptedHost } from "./host.ts";

const volumes = (paths: string[] | undefined) => ({ volumes: async () => paths });

test("the database's log and the file systems of tables, blobs, index and volumes are written to disk", async () => {
	await using host = await scriptedHost({ path: "{zimbra_home}/bin:/usr/bin:/bin" });
	await host.script("mysql", 'echo "$@" >>"$0.asked"');
	await host.script("sync", 'echo "$@" >>"$0.asked"');
	await makeDurable(host, volumes([host.path("conf")]));
	assert.match(await readFile(host.path("bin/mysql.asked"), "utf8"), /FLUSH ENGINE LOGS/);
	const synced = (await readFile(host.path("bin/sync.asked"), "utf8")).trim().split("\n");
	assert.deepEqual(
		synced,
		["db/data", "store", "index", "conf"].map((each) => `-f ${host.path(each)}`),
	);
});

test("where the database does not tell the volumes, everything that is mounted is written to disk", async () => {
	await using host = await scriptedHost({ path: "{zimbra_home}/bin:/usr/bin:/bin" });
	await host.script("mysql", "exit 0");
	await host.script("sync", 'echo "all $@" >>"$0.asked"');
	await makeDurable(host, volumes(undefined));
	assert.match(await readFile(host.path("bin/sync.asked"), "utf8"), /^all $/m);
});

test("with the real sync it succeeds", async () => {
	await using host = await scriptedHost();
	await host.script("mysql", "exit 0");
	await makeDurable(host, volumes(undefined));
});

test("a database that cannot flush makes nothing durable", async () => {
	await using host = await scriptedHost();
	await host.script("mysql", 'echo "ERROR 2002: connect refused" >&2; exit 1');
	await assert.rejects(makeDurable(host, volumes([])), /write its log.*ERROR 2002.*mysqladmin/s);
});

test("a sync that failed is not taken for an old sync", async () => {
	await using host = await scriptedHost({ path: "{zimbra_home}/bin:/usr/bin:/bin" });
	await host.script("mysql", "exit 0");
	await host.script("sync", '[ $# = 0 ] && exit 0; echo "sync: Input/output error" >&2; exit 1');
	await assert.rejects(makeDurable(host, volumes([])), /db\/data could not be written.*dmesg/s);
});

test("a sync without -f (before coreutils 8.24) is replaced by a sync of everything", async () => {
	await using host = await scriptedHost({ path: "{zimbra_home}/bin:/usr/bin:/bin" });
	await host.script("mysql", "exit 0");
	await host.script("sync", `[ $# = 0 ] && exit 0; echo "sync: invalid option -- 'f'" >&2; exit 1`);
	await makeDurable(host, volumes([]));
});

test("a database that came back after dying is not the one that ran before", () => {
	const own = ownIdentity();
	assert.equal(sameDatabase(own, own), true);
	assert.equal(sameDatabase(own, { ...own, startTime: own.startTime + 1 }), false);
	assert.equal(sameDatabase(own, undefined), false);
	assert.equal(sameDatabase(undefined, own), true);
});

test("questions to the database: volumes, mailboxes of accounts, items that are there", async () => {
	await using host = await scriptedHost();
	await host.script(
		"mysql",
		`case "$4" in
		*zimbra.volume*) printf '/opt/zimbra/store\\nindex\\n';;
		*"account_id IN ('a-1') OR id IN (0,3,4)"*) printf '3\\ta-1\\n4\\tc\\n';;
		*group_id*) echo 3;;
		*mboxgroup3.mail_item*) printf '257\\n258\\n';;
		*) exit 1;;
		esac`,
	);
	const database = makeDatabase(host);
	assert.deepEqual(await database.volumes(), ["/opt/zimbra/store", host.path("index")]);
	const wanted = [
		{ mailboxId: 3, accountId: "a-1" },
		{ mailboxId: 4, accountId: "b'; DROP" },
	];
	assert.deepEqual(await database.mailboxes(wanted), [
		{ mailboxId: 3, accountId: "a-1" },
		{ mailboxId: 4, accountId: "c" },
	]);
	assert.deepEqual(await database.existingItems(3, [257, 258, 259]), new Set([257, 258]));
});

test("a database that cannot be asked says undefined, not nothing", async () => {
	await using host = await scriptedHost();
	await host.script("mysql", "exit 1");
	const database = makeDatabase(host);
	assert.equal(await database.volumes(), undefined);
	assert.equal(await database.existingItems(3, [257]), undefined);
	assert.equal(await database.mailboxes([{ mailboxId: 3, accountId: "a-1" }]), undefined);
});
