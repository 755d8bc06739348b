import assert from "node:assert/strict";
import { test } from "node:test";
import { type LdapMark, sameData, sameMark } from "../../../src/formats/ldap/mark.ts";

const mdb: LdapMark = {
	transactionIds: { "mdb/db": 40 },
	sources: { "mdb/db": "12.34.boot" },
	files: "digest",
};
const hdb: LdapMark = { transactionIds: {}, sources: {}, files: "digest" };

test("another cn=config is another copy, but the same entries", () => {
	const other = { ...mdb, files: "another" };
	assert.equal(sameMark(mdb, other), false);
	assert.equal(sameData(mdb, other), true);
});

test("a transaction id says nothing about another file, or another boot", () => {
	assert.equal(sameData(mdb, { ...mdb, sources: { "mdb/db": "12.34.next boot" } }), false);
	assert.equal(sameData(mdb, { ...mdb, transactionIds: { "mdb/db": 39 } }), false);
});

test("an environment more or less is another state", () => {
	const both = {
		...mdb,
		transactionIds: { "mdb/db": 40, "accesslog/db": 7 },
		sources: { "mdb/db": "12.34.boot", "accesslog/db": "13.34.boot" },
	};
	assert.equal(sameData(mdb, both), false);
	assert.equal(sameData(both, mdb), false);
	assert.equal(
		sameData(both, { ...both, transactionIds: { ...both.transactionIds, "accesslog/db": 8 } }),
		false,
	);
});

test("invariant 4: hdb has no transaction ids, and a changed one is not covered by the copy in use", () => {
	assert.equal(sameData(hdb, hdb), true);
	assert.equal(sameData(hdb, { ...hdb, files: "another" }), false);
});
