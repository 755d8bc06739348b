/**
 * What tells one state of an LDAP directory from another, read without stopping slapd.
 *
 * Every commit of an LMDB environment has a transaction id of its own, but ids compare only within one
 * file and one boot: slapadd begins again at one, and after a power loss a database that is never
 * synced (as Zimbra ships it) may go back and use an id a second time for something else.
 */
export type LdapMark = {
	/** of each environment, by its directory below data/ldap */
	readonly transactionIds: Readonly<Record<string, number>>;
	/** inode and birth of each environment's file, and the boot: what its ids belong to */
	readonly sources: Readonly<Record<string, string>>;
	/** digest of cn=config, and of the files of databases that have no transaction id */
	readonly files: string;
};

/** Whether both hold the same data and the same configuration. */
export const sameMark = (a: LdapMark, b: LdapMark): boolean =>
	sameData(a, b) && a.files === b.files;

/**
 * Whether both hold the same entries, whatever the configuration. Without a transaction id (hdb) only
 * the digest tells, and that is of the configuration too.
 */
export const sameData = (a: LdapMark, b: LdapMark): boolean =>
	sameRecord(a.transactionIds, b.transactionIds) &&
	sameRecord(a.sources, b.sources) &&
	(Object.keys(a.transactionIds).length > 0 || a.files === b.files);

function sameRecord<T>(a: Readonly<Record<string, T>>, b: Readonly<Record<string, T>>): boolean {
	const names = Object.keys(a);
	return names.length === Object.keys(b).length && names.every((name) => a[name] === b[name]);
}
