import assert from "node:assert/strict";
import { test } from "node:test";
import { parseDatabase, withDirectory } from "../../../src/formats/ldap/config-ldif.ts";

/** As slapd 2.5 writes it, with a long line folded. */
const text = `# AUTO-GENERATED FILE - DO NOT EDIT!! Use ldapmodify.
# CRC32 00f798ce
dn: olcDatabase={2}mdb
objectClass: olcMdbConfig
olcDatabase: {2}mdb
olcDbDirectory: /opt/zimbra/data/ldap/mdb/a-name-that-is-so-long-that-slapd-has
 -to-fold-it/db
olcSuffix:
olcDbMaxSize: 85899345920
`;
const directory = "/opt/zimbra/data/ldap/mdb/a-name-that-is-so-long-that-slapd-has-to-fold-it/db";

test("a database's number, kind and directory are read from its file", () => {
	assert.deepEqual(parseDatabase("olcDatabase={2}mdb.ldif", text), {
		number: 2,
		backend: "mdb",
		directory,
	});
	const encoded = `olcDbDirectory:: ${Buffer.from("/data/ümlaut").toString("base64")}\n`;
	assert.equal(parseDatabase("olcDatabase={3}hdb.ldif", encoded)?.directory, "/data/ümlaut");
});

test("databases without data, and other entries, are none", () => {
	assert.equal(
		parseDatabase("olcDatabase={1}monitor.ldif", "olcDatabase: {1}monitor\n"),
		undefined,
	);
	assert.equal(parseDatabase("cn=module{0}.ldif", text), undefined);
});

test("a directory is read whole, whatever is in its name, and once", () => {
	for (const name of ["/data/a\u2028b", `${" ".repeat(400_000)}\u2028`]) {
		const found = parseDatabase("olcDatabase={2}mdb.ldif", `olcDbDirectory:${name}\n`);
		assert.equal(found?.directory, name.replace(/^ +/, ""));
	}
});

test("for the checks the same file names the copy, and nothing else is changed", () => {
	const changed = withDirectory(text, "/copy/of mdb");
	assert.equal(parseDatabase("olcDatabase={2}mdb.ldif", changed)?.directory, "/copy/of mdb");
	assert.doesNotMatch(changed, /CRC32/);
	assert.match(changed, /^olcSuffix:$/m);
	assert.match(changed, /^olcDbMaxSize: 85899345920$/m);
});
