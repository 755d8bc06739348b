import assert from "node:assert/strict";
import { test } from "node:test";
import { followName } from "../../../src/services/zimbra/own-name.ts";

const patient = 60_000;

test("a name that leads to this machine, by loopback or by an address of its own, leads nowhere else", async () => {
	const local = await followName("localhost", [], patient);
	assert.ok(local.addresses.length > 0);
	assert.deepEqual(local.foreign, []);
	assert.deepEqual((await followName("127.9.8.7", [], patient)).foreign, []);
	assert.deepEqual((await followName("192.0.2.7", ["192.0.2.7"], patient)).foreign, []);
	assert.deepEqual((await followName("::ffff:192.0.2.7", ["192.0.2.7"], patient)).foreign, []);
	assert.deepEqual((await followName("2001:db8::7", ["2001:db8:0::7"], patient)).foreign, []);
});

test("a name that leads to another machine, or nowhere, is told so", async () => {
	assert.deepEqual(await followName("192.0.2.7", ["192.0.2.8"], patient), {
		addresses: ["192.0.2.7"],
		foreign: ["192.0.2.7"],
	});
	assert.deepEqual((await followName("2001:db8::7", ["192.0.2.7"], patient)).foreign, [
		"2001:db8::7",
	]);
	// No name: no name server is asked for it, as there need not be one.
	assert.deepEqual((await followName("a..b", [], patient)).addresses, []);
});
