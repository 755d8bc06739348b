import assert from "node:assert/strict";
import { test } from "node:test";
import { findStores, readServers } from "../../src/formats/zimbra-servers.ts";

const server = (name: string, ...services: string[]) =>
	[
		`# name ${name}`,
		"cn: whatever",
		"zimbraNotes: two lines, the second of them",
		"zimbraServiceEnabled of something else",
		...services.map((each) => `zimbraServiceEnabled: ${each}`),
		"zimbraServiceInstalled: spell",
		"",
	].join("\n");
const own = server("mail.example.net", "ldap", "mailbox", "mta");

test("servers and their services, as zmprov prints them", () => {
	const output = `${own}\n${server("mta.example.net", "mta", "antispam")}\n`;
	assert.deepEqual(readServers(output), [
		{ name: "mail.example.net", services: ["ldap", "mailbox", "mta"] },
		{ name: "mta.example.net", services: ["mta", "antispam"] },
	]);
	assert.deepEqual(readServers("ERROR: service.FAILURE\n"), []);
});

test("another mailbox store or directory counts, a relay does not", () => {
	const names = (output: string, name?: string) =>
		findStores(readServers(output), name).otherStores.map((each) => each.name);
	const relay = server("mta.example.net", "mta", "proxy");
	const second = server("mbox2.example.net", "mailbox");
	const replica = server("ldap2.example.net", "ldap");
	assert.deepEqual(names(own + relay, "mail.example.net"), []);
	assert.deepEqual(names(own + second + relay + replica, "mail.example.net"), [
		"mbox2.example.net",
		"ldap2.example.net",
	]);
	assert.deepEqual(names(own), []);
	assert.deepEqual(names(own + second), ["mail.example.net", "mbox2.example.net"]);
});

test("a server is found by its name in any case of letters, as DNS has it", () => {
	const servers = readServers(`${own}\n${server("mbox2.example.net", "mailbox")}`);
	for (const name of ["MAIL.example.NET", "mail.example.net", "Mail.Example.Net."]) {
		const { ownName, otherStores } = findStores(servers, name);
		assert.equal(ownName, "mail.example.net");
		assert.deepEqual(
			otherStores.map((each) => each.name),
			["mbox2.example.net"],
		);
		assert.deepEqual(findStores(readServers(own), name).otherStores, []);
	}
});

test("an only server is this one, whatever it calls itself; of several none is known to be", () => {
	assert.deepEqual(findStores(readServers(own), "renamed.example.net").otherStores, []);
	const two = readServers(`${own}\n${server("mbox2.example.net", "mailbox")}`);
	const { ownName, otherStores } = findStores(two, "renamed.example.net");
	assert.equal(ownName, undefined);
	assert.equal(otherStores.length, 2);
});
