import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import {
	chmodSync,
	chownSync,
	existsSync,
	mkdirSync,
	readdirSync,
	renameSync,
	rmSync,
	symlinkSync,
	writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { listOwn, readDatabases } from "../../../src/services/ldap/directory.ts";
import { discard } from "../../../src/services/ldap/discard.ts";
import {
	findPlaces,
	presentGenerations,
	renameGeneration,
} from "../../../src/services/ldap/places.ts";
import { canMountSmallDisk, ownNamespace } from "../../pair/small-disk.ts";
import { type ScriptedHost, scriptedHost } from "../zimbra/host.ts";

test("a data/ldap that Zimbra's ldap script made while the directory was renamed away is none, and in nobody's way", async () => {
	await using host = await scriptedHost();
	const places = await findPlaces(host.config);
	writeFileSync(host.path("data/ldap/state/run/slapd.args"), "");
	mkdirSync(places.next);
	writeFileSync(`${places.next}/whole`, "");
	assert.deepEqual([...(await presentGenerations(places))], ["next"]);
	await renameGeneration(places.next, places.current);
	assert.deepEqual(readdirSync(places.current), ["whole"]);
	assert.deepEqual([...(await presentGenerations(places))], ["current"]);
});

test("a data/ldap of links to other disks is an LDAP directory, and nothing is renamed over it", async () => {
	await using host = await scriptedHost();
	const places = await findPlaces(host.config);
	symlinkSync("/nowhere", host.path("data/ldap/mdb"));
	mkdirSync(places.next);
	assert.deepEqual([...(await presentGenerations(places))], ["current"]);
	await assert.rejects(renameGeneration(places.next, places.current), /ENOTEMPTY/);
	assert.deepEqual(readdirSync(places.current).toSorted(), ["mdb", "state"]);
});

test("a mount point in data/ldap is refused before it is renamed along with it, and then cleared away", {
	skip: canMountSmallDisk() ? false : "no user and mount namespaces here",
}, async () => {
	await using host = await scriptedHost();
	mkdirSync(host.path("data/ldap/mdb"));
	for (const mounted of ["data/ldap", "data/ldap/mdb"]) {
		const { stdout, stderr } = placesWithMount(host, mounted);
		assert.match(stdout, /mount point, and LDAP copies/, stderr);
		assert.ok(stdout.startsWith(host.path(mounted)), stdout);
	}
});

test("data/ldap may be a link to a link: what is exchanged is the directory itself", async () => {
	await using host = await scriptedHost();
	renameSync(host.path("data/ldap"), host.path("data/real"));
	symlinkSync("real", host.path("data/link"));
	symlinkSync(host.path("data/link"), host.path("data/ldap"));
	assert.equal((await findPlaces(host.config)).current, host.path("data/real"));
	// Between two renames it is not there.
	rmSync(host.path("data/real"), { recursive: true });
	assert.equal((await findPlaces(host.config)).current, host.path("data/real"));
});

test("directories that our user may not read are in nobody's way, and no file is lost in them", async () => {
	await using host = await scriptedHost();
	const root = host.path("data/ldap");
	for (const each of ["config/cn=config", "mdb/db", "lost+found/inside", "ldap.bak"]) {
		mkdirSync(join(root, each), { recursive: true });
	}
	writeFileSync(join(root, "config/cn=config.ldif"), "dn: cn=config\n");
	writeFileSync(
		join(root, "config/cn=config/olcDatabase={2}mdb.ldif"),
		"dn: olcDatabase={2}mdb\nolcDatabase: {2}mdb\nolcDbDirectory: data/ldap/mdb/db\n",
	);
	writeFileSync(join(root, "lost+found/inside/file"), "");
	await asUser(host.home, [join(root, "lost+found"), join(root, "lost+found/inside")], async () => {
		const places = await findPlaces(host.config);
		assert.deepEqual([...(await presentGenerations(places))], ["current"]);
		const databases = await readDatabases(root, root, host.home);
		const { directories, files } = await listOwn(root, databases);
		assert.deepEqual(files, ["config/cn=config.ldif", "config/cn=config/olcDatabase={2}mdb.ldif"]);
		assert.deepEqual(directories, [
			...["config", "config/cn=config", "mdb", "mdb/db", "state", "state/run"],
		]);
		await renameGeneration(places.current, places.discarded);
		await discard(host.config, places, host.log);
		const kept = host.path("live_sync/ldap/beside");
		assert.deepEqual(readdirSync(kept).toSorted(), ["ldap.bak", "lost+found"]);
		assert.equal(existsSync(places.discarded), false);
		await discard(host.config, places, host.log);
	});
	assert.equal(existsSync(host.path("live_sync/ldap/beside/lost+found/inside/file")), true);
});

/** Works there as somebody who is not root, and to whom some of it is shut. */
async function asUser(home: string, shut: readonly string[], work: () => Promise<void>) {
	const isRoot = process.getuid?.() === 0;
	if (isRoot) execFileSync("chown", ["-R", "65534", home]);
	for (const path of shut.toReversed()) {
		if (isRoot) chownSync(path, 0, 0);
		chmodSync(path, isRoot ? 0o700 : 0);
	}
	if (isRoot) process.seteuid?.(65_534);
	try {
		await work();
	} finally {
		if (isRoot) process.seteuid?.(0);
		execFileSync("chmod", ["-R", "u+rwX", home]);
	}
}

/** What findPlaces says where an empty file system is mounted there. */
function placesWithMount(host: ScriptedHost, below: string) {
	const source = join(import.meta.dirname, "../../../src/services");
	const script = `
		import { loadConfig } from "${source}/config.ts";
		import { findPlaces } from "${source}/ldap/places.ts";
		const config = await loadConfig("${host.config.base.config}");
		console.log(await findPlaces(config).catch((error) => error.message));`;
	const command = 'mount -t tmpfs none "$1" && exec "$2" --input-type=module -e "$3"';
	const words = ["sh", "-c", command, "sh", host.path(below), process.execPath, script];
	return spawnSync("unshare", [...ownNamespace, ...words], { encoding: "utf8" });
}
