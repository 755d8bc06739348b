import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { EntryCounter } from "../../../src/formats/ldap/count-entries.ts";

const ldif =
	"dn: cn=a\ncn: a\ndescription: dn: no\n dn: folded\n\ndn:: Y249Yg==\ncn: b\n\ndn: cn=c\n";

test("entries are counted however the LDIF is cut", () => {
	fc.assert(
		fc.property(fc.array(fc.nat(ldif.length), { maxLength: 10 }), (cuts) => {
			const counter = new EntryCounter();
			const at = [0, ...cuts.toSorted((a, b) => a - b), ldif.length];
			for (let i = 0; i + 1 < at.length; i++) counter.take(ldif.slice(at[i], at[i + 1]));
			assert.equal(counter.entries, 3);
		}),
	);
});

test("nothing has no entry", () => {
	assert.equal(new EntryCounter().entries, 0);
});
