import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** A data/ldap or a copy of one: a configuration, and an environment that has no more than its head. */
export function writeDirectory(root: string, place: string, transactionId: number): void {
	for (const each of [place, "config/cn=config"]) mkdirSync(join(root, each), { recursive: true });
	writeFileSync(join(root, place, "data.mdb"), metaPages(transactionId));
	writeFileSync(join(root, "config/cn=config.ldif"), "dn: cn=config\n");
	writeDatabase(root, place);
}

/** Its configuration names a database there. */
export function writeDatabase(root: string, below: string): void {
	const file = join(root, "config/cn=config/olcDatabase={2}mdb.ldif");
	writeFileSync(
		file,
		`dn: olcDatabase={2}mdb\nolcDatabase: {2}mdb\nolcDbDirectory: data/ldap/${below}\n`,
	);
}

/** The head of an LMDB file: see formats/lmdb/meta.ts. */
export function metaPages(transactionId: number): Buffer {
	const pages = Buffer.alloc(2 * 4096);
	for (const at of [0, 4096]) {
		pages.writeUInt16LE(8, at + 10);
		pages.writeUInt32LE(0xbeef_c0de, at + 16);
		pages.writeUInt32LE(1, at + 20);
		pages.writeUInt32LE(4096, at + 40);
		pages.writeBigUInt64LE(BigInt(transactionId), at + 144);
	}
	return pages;
}
