import assert from "node:assert/strict";
import { isIP } from "node:net";
import { test } from "node:test";
import fc from "fast-check";
import { canonicalAddress, isAddress } from "../../src/formats/address.ts";

const odd = [
	...["", " ", ":", "::", ":::", "1", "1.2.3", "1.2.3.4", "1.2.3.4.5", "01.2.3.4", "1.2.3.256"],
	...["0x1.2.3.4", "1.2.3.4 ", "1.2.3.4\n", "127.1", "::1", "::1\n", "[::1]", "::1]/x[", "1::2::3"],
	...["fe80::1%eth0", "fe80::1%", "%eth0", "::ffff:1.2.3.4", "::ffff:1.2.3.256", "1:2:3:4:5:6:7:8"],
	...["1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "1:2:3:4:5:6:1.2.3.4", "12345::"],
	...["::1.2.3", "::01.2.3.4", "localhost", "a.b.c.d", "::g", "2001:DB8::A", "::1#", "::1/64"],
];

test("an address is what node:net takes for one", () => {
	for (const text of odd) assert.equal(isAddress(text), isIP(text) !== 0, JSON.stringify(text));
});

test("whatever the text: as node:net", () => {
	const pieces = fc.constantFrom(
		...Array.from("0123456789abcdfF.:%g"),
		"::",
		"ffff",
		"255",
		"256",
		"1.2.3.4",
	);
	const text = fc.array(pieces, { maxLength: 16 }).map((all) => all.join(""));
	for (const each of [fc.ipV4(), fc.ipV6(), text]) {
		fc.assert(
			fc.property(each, (one) => isAddress(one) === (isIP(one) !== 0)),
			{ numRuns: 2000 },
		);
	}
});

test("an address has one spelling", () => {
	const spellings = [
		["192.0.2.2", "192.0.2.2"],
		["::ffff:192.0.2.2", "192.0.2.2"],
		["::FFFF:c000:202", "192.0.2.2"],
		["0:0:0:0:0:0:0:1", "::1"],
		["2001:DB8::0002", "2001:db8::2"],
		["fe80::1%eth0", "fe80::1"],
		["::192.0.2.2", "::c000:202"],
	];
	for (const [spelt = "", expected] of spellings) {
		assert.ok(isAddress(spelt), spelt);
		assert.equal(canonicalAddress(spelt), expected);
	}
});
