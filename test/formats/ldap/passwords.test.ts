import assert from "node:assert/strict";
import { test } from "node:test";
import {
	differingPasswords,
	digestPasswords,
	findPasswords,
} from "../../../src/formats/ldap/passwords.ts";

const localconfig = (values: Record<string, string>) =>
	`<?xml version="1.0" encoding="UTF-8"?>\n\n<localconfig>\n${Object.entries(values)
		.map(([name, value]) => `  <key name="${name}">\n    <value>${value}</value>\n  </key>\n`)
		.join("")}</localconfig>\n`;

const live = {
	ldap_root_password: "one",
	zimbra_ldap_password: "two",
	ldap_bes_searcher_password: "three",
	mysql_root_password: "four",
	ldap_host: "mail",
};

test("the LDAP passwords of a localconfig.xml are found, and nothing else", () => {
	assert.deepEqual(Object.fromEntries(findPasswords(localconfig(live))), {
		ldap_root_password: "one",
		zimbra_ldap_password: "two",
		ldap_bes_searcher_password: "three",
	});
	assert.equal(
		findPasswords('<key name="-ldap password"><value>x</value></key>').size,
		0,
		"what no live server says is not expected of it",
	);
	assert.equal(
		findPasswords('<!-- <key name="ldap_root_password"><value>x</value></key> -->').size,
		0,
	);
});

test("what leaves the host does not hold a password, and is another each time", () => {
	const text = localconfig(live);
	const first = digestPasswords(text, "00".repeat(16));
	const second = digestPasswords(text, "01".repeat(16));
	assert.doesNotMatch(JSON.stringify(first), /one|two|three/);
	assert.notEqual(first.digests["ldap_root_password"], second.digests["ldap_root_password"]);
});

test("passwords that differ, or that only one host has, are named", () => {
	const digests = digestPasswords(localconfig(live), "ab".repeat(16));
	const compare = (other: Record<string, string>) =>
		differingPasswords(digests, localconfig(other));
	assert.deepEqual(compare(live), []);
	assert.deepEqual(compare({ ...live, mysql_root_password: "other" }), []);
	assert.deepEqual(compare({ ...live, zimbra_ldap_password: "new" }), ["zimbra_ldap_password"]);
	const { ldap_root_password: _, ...fewer } = live;
	assert.deepEqual(compare({ ...fewer, ldap_amavis_password: "x" }), [
		"ldap_amavis_password",
		"ldap_root_password",
	]);
});
