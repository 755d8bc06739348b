import assert from "node:assert/strict";
import {
	chmodSync,
	existsSync,
	mkdirSync,
	mkdtempSync,
	readFileSync,
	renameSync,
	rmSync,
	statSync,
	symlinkSync,
	writeFileSync,
} from "node:fs";
import { test } from "node:test";
import type { Host } from "../pair/host.ts";
import { createPair } from "../pair/pair.ts";
import { canMountSmallDisk, SmallDisk } from "../pair/small-disk.ts";
import { until } from "../pair/until.ts";
import {
	assertNothingRuns,
	caughtUp,
	deliver,
	killLoop,
	ldapState,
	liveSyncd,
	loops,
	quickly,
	refused,
} from "./support.ts";

/** Puts a tool of its own before the one of the system on that host; gives what takes it away. */
function replaceTool(host: Host, tool: string, body: string): () => void {
	const file = host.path("bin", tool);
	writeFileSync(file, `#!/bin/sh\n${body}\n`);
	chmodSync(file, 0o755);
	return () => rmSync(file);
}

test("start refuses where LDAP cannot be followed, names what is missing, and starts once it is mended", async () => {
	await using pair = await createPair({ ...quickly });
	const { a, b } = pair;
	const broken: [Host, string, string, RegExp][] = [
		[a, "mdb_copy", "echo no room >&2; exit 28", /mdb_copy .* exited with 28: no room/],
		[b, "rsync", "echo no way >&2; exit 12", /could not be fetched from .*: no way/],
		[b, "slapcat", "exit 0", /slapcat reads 0 entries/],
	];
	for (const [host, tool, body, said] of broken) {
		const mend = replaceTool(host, tool, body);
		assert.match(await refused(b, "ldap-path"), said, tool);
		mend();
	}
	const away = `${a.path("data/ldap/config")}.away`;
	renameSync(a.path("data/ldap/config"), away);
	assert.match(await refused(b, "ldap-path"), /ldap_changes.*config cannot be read/);
	renameSync(away, a.path("data/ldap/config"));
	const localconfig = b.path("conf/localconfig.xml");
	const right = readFileSync(localconfig, "utf8");
	writeFileSync(localconfig, right.replace("secret-of-zimbra", "another"));
	await refused(b, "ldap-password-drift");
	writeFileSync(localconfig, right);
	// Once is no fault: slapd may be in the middle of something.
	const counter = `${a.directory}/mdb_copy.called`;
	const mend = replaceTool(
		a,
		"mdb_copy",
		`case $1 in -V) ;; *) [ -e ${counter} ] || { : >${counter}; exit 1; };; esac; exec /usr/bin/mdb_copy "$@"`,
	);
	assert.match(await liveSyncd(b, "start"), /mdb_copy .*; trying again\.\.\.\n.*\.\.\.done/s);
	mend();
	await until("a copy in use", async () => (await ldapState(b))?.installed !== undefined);
	await liveSyncd(b, "kill");
	await assertNothingRuns(pair);
});

test("where only the LDAP loop is missing, its path alone is proved, and the redo loop goes on", async () => {
	await using pair = await createPair({ ...quickly });
	const { a, b } = pair;
	await liveSyncd(b, "start");
	const redo = loops(b, "redo");
	killLoop(b, "ldap");
	const mend = replaceTool(a, "mdb_copy", "exit 1");
	assert.match(await liveSyncd(b, "start", 1), /\[ldap-path\]/);
	assert.deepEqual([loops(b, "redo"), loops(b, "ldap").length], [redo, 0]);
	mend();
	await liveSyncd(b, "start");
	assert.deepEqual([loops(b, "redo"), loops(b, "ldap").length], [redo, 1]);
	await deliver(pair, 2);
	await caughtUp(pair);
	await liveSyncd(b, "kill");
});

test("start refuses where redo logs cannot be written or archived, and makes an archive that is missing", async (t) => {
	await using pair = await createPair({ ...quickly });
	const { b } = pair;
	const archive = b.path("redolog/archive");
	rmSync(archive, { recursive: true });
	writeFileSync(archive, "");
	assert.match(await liveSyncd(b, "start", 1), /redolog\/archive cannot be .*\[not-writable\]/);
	rmSync(archive);
	const shared = "/dev/shm";
	if (existsSync(shared) && statSync(shared).dev !== statSync(b.home).dev) {
		const elsewhere = mkdtempSync(`${shared}/live-sync-`);
		symlinkSync(elsewhere, archive);
		const said = await refused(b, "two-file-systems");
		assert.match(said, /redolog and .*redolog\/archive are on two file systems/);
		rmSync(archive);
		rmSync(elsewhere, { recursive: true });
	}
	// The loops are started with it missing, too.
	await liveSyncd(b, "start");
	assert.ok(existsSync(archive));
	await deliver(pair, 4, 2);
	await caughtUp(pair);
	await liveSyncd(b, "stop");
	if (!canMountSmallDisk()) return t.skip("no tmpfs can be mounted in a namespace here");
	{
		await using _ = await SmallDisk.mount(b, "redolog/archive", "2m");
		await refused(b, "two-file-systems");
	}
	await using disk = await SmallDisk.mount(b, "redolog", "20m");
	await disk.readOnly(true);
	assert.match(await liveSyncd(b, "start", 1), /\[not-writable\]\n {2}try: .*read-only/);
	await disk.readOnly(false);
	await liveSyncd(b, "start");
	await liveSyncd(b, "kill");
});

test("start refuses where a copy of LDAP could not be exchanged with data/ldap", async (t) => {
	if (!canMountSmallDisk()) return t.skip("no tmpfs can be mounted in a namespace here");
	await using pair = await createPair({ ...quickly });
	const { b } = pair;
	mkdirSync(b.path("data/ldap/ldap.bak"));
	await using _ = await SmallDisk.mount(b, "data/ldap/ldap.bak", "1m");
	assert.match(await refused(b, "two-file-systems"), /ldap\.bak is a mount point/);
});
