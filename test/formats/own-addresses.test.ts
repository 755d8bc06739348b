import assert from "node:assert/strict";
import { test } from "node:test";
import { parseFibTrie, parseIfInet6 } from "../../src/formats/own-addresses.ts";

/** Of a machine with 10.9.9.1/24 on an interface without a carrier. */
const fibTrie = `Main:
  +-- 0.0.0.0/0 3 0 5
     +-- 10.9.9.0/24 2 0 2
        |-- 10.9.9.0
           /24 link UNICAST
        |-- 10.9.9.1
           /32 host LOCAL
        |-- 10.9.9.255
           /32 link BROADCAST
     +-- 127.0.0.0/8 2 0 2
        |-- 127.0.0.0
           /8 host LOCAL
        |-- 127.0.0.1
           /32 host LOCAL
Local:
  +-- 0.0.0.0/0 3 0 5
        |-- 10.9.9.1
           /32 host LOCAL
`;

test("an IPv4 address of this machine is told from its network, its broadcast and other routes", () => {
	assert.deepEqual(parseFibTrie(fibTrie), ["10.9.9.1", "127.0.0.1"]);
	assert.deepEqual(parseFibTrie(""), []);
});

test("IPv6 addresses are read, whatever state their interface is in", () => {
	const text = `00000000000000000000000000000001 01 80 10 80       lo
fd000009000000000000000000000001 03 40 00 80       v0
`;
	assert.deepEqual(parseIfInet6(text), [
		"0000:0000:0000:0000:0000:0000:0000:0001",
		"fd00:0009:0000:0000:0000:0000:0000:0001",
	]);
	assert.deepEqual(parseIfInet6(""), []);
});
