import assert from "node:assert/strict";
import { mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import {
	findPlaces,
	presentGenerations,
	renameGeneration,
} from "../../../src/services/ldap/places.ts";
import { scriptedHost } from "../zimbra/host.ts";

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
