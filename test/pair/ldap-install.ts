import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import type { Host } from "./host.ts";
import { type LdapOptions, serverName } from "./install.ts";
import { type Account, adminDn, localConfig } from "./store/accounts.ts";

export type LdapContent = {
	readonly serverId: string;
	readonly settings: Readonly<Record<string, string>>;
	readonly accounts: readonly Account[];
};

/** zml:conf/ldap/config, cn=config/olcDatabase={2}mdb.ldif: 80 GiB of address space, a sparse file */
const mapSize = 85_899_345_920;

/**
 * Makes cn=config and the database of a host's slapd. Paths in cn=config are relative to zimbra_home,
 * in which slapd is started: on real servers they are absolute and the same on both.
 */
export function makeLdap(host: Host, options: LdapOptions, content: LdapContent): void {
	const secrets = localConfig(host.home);
	const add = (database: string, ldif: string) =>
		execFileSync("/usr/sbin/slapadd", ["-q", "-F", "data/ldap/config", "-n", database], {
			cwd: host.home,
			input: ldif,
			stdio: ["pipe", "ignore", "pipe"],
		});
	add("0", configLdif(options.writemap, secrets["ldap_root_password"] ?? ""));
	const root = rootLdif(content, secrets["zimbra_ldap_password"] ?? "");
	const accounts = content.accounts.map((each) => accountLdif(each));
	const more = Array.from({ length: options.entries ?? 0 }, (_, i) => bulkLdif(i));
	add("2", [...root, ...accounts, ...more].join("\n"));
}

/** One account as LDIF, as `zmprov ca` makes it. */
export function accountLdif({ id, mail, name }: Account, password = "secret"): string {
	const domain = (mail.split("@")[1] ?? "").split(".");
	return [
		`dn: uid=${name},ou=people,${domain.map((part) => `dc=${part}`).join(",")}`,
		"objectClass: inetOrgPerson",
		"objectClass: zimbraAccount",
		`uid: ${name}`,
		`cn: ${name}`,
		`sn: ${name}`,
		`mail: ${mail}`,
		`zimbraId: ${id}`,
		`zimbraMailHost: ${serverName}`,
		"zimbraAccountStatus: active",
		`userPassword: ${password}`,
		"",
	].join("\n");
}

/** Weight for a directory that is to be large: about 10 KB each in the database. */
const bulkLdif = (number: number): string =>
	[
		`dn: uid=bulk${number},ou=people,dc=example,dc=net`,
		"objectClass: inetOrgPerson",
		`uid: bulk${number}`,
		`cn: bulk${number}`,
		`sn: bulk${number}`,
		`mail: bulk${number}@example.net`,
		`description: ${"signature ".repeat(900)}${number}`,
		"",
	].join("\n");

function rootLdif({ serverId, settings }: LdapContent, password: string): string[] {
	const container = (dn: string) =>
		`dn: ${dn}\nobjectClass: organizationalRole\ncn: ${dn.split(/[=,]/)[1]}\n`;
	return [
		container("cn=zimbra"),
		container("cn=admins,cn=zimbra"),
		container("cn=servers,cn=zimbra"),
		[
			`dn: ${adminDn}`,
			"objectClass: inetOrgPerson",
			...["uid", "cn", "sn"].map((name) => `${name}: zimbra`),
			`userPassword: ${password}`,
			"",
		].join("\n"),
		[
			"dn: cn=config,cn=zimbra",
			"objectClass: organizationalRole",
			"objectClass: zimbraGlobalConfig",
			"cn: config",
			...Object.entries(settings).map(([name, value]) => `${name}: ${value}`),
			"",
		].join("\n"),
		[
			`dn: cn=${serverName},cn=servers,cn=zimbra`,
			"objectClass: organizationalRole",
			"objectClass: zimbraServer",
			`cn: ${serverName}`,
			`zimbraId: ${serverId}`,
			`zimbraServiceHostname: ${serverName}`,
			...["ldap", "mailbox", "mta"].map((each) => `zimbraServiceEnabled: ${each}`),
			"",
		].join("\n"),
		"dn: dc=net\nobjectClass: dcObject\nobjectClass: organization\no: net\ndc: net\n",
		"dn: dc=example,dc=net\nobjectClass: dcObject\nobjectClass: organization\no: example\ndc: example\n",
		"dn: ou=people,dc=example,dc=net\nobjectClass: organizationalUnit\nou: people\n",
	];
}

/** Attributes of the global configuration and of servers; a real schema has some two thousand. */
const settingNames = [
	"zimbraRedoLogEnabled",
	"zimbraRedoLogDeleteOnRollover",
	"zimbraRedoLogRolloverFileSizeKB",
	"zimbraRedoLogRolloverMinFileAge",
	"zimbraRedoLogRolloverHardMaxFileSizeKB",
	"zimbraRedoLogCrashRecoveryLookbackSec",
	"zimbraRedoLogFsyncIntervalMS",
	"zimbraRedoLogLogPath",
	"zimbraRedoLogArchiveDir",
];
const accountNames = ["zimbraId", "zimbraMailHost", "zimbraAccountStatus", "zimbraMailQuota"];
const serverNames = ["zimbraServiceHostname", "zimbraServiceEnabled"];

function configLdif(writemap: boolean, rootPassword: string): string {
	const modules = "/usr/lib/ldap";
	const oid = "1.3.6.1.4.1.19348.2";
	const names = [...accountNames, ...serverNames, ...settingNames];
	const attributes = names.map(
		(name, i) =>
			`olcAttributeTypes: ( ${oid}.1.${i + 1} NAME '${name}' EQUALITY caseIgnoreMatch SUBSTR caseIgnoreSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )`,
	);
	const classOf = (number: number, name: string, may: string[]) =>
		`olcObjectClasses: ( ${oid}.2.${number} NAME '${name}' SUP top AUXILIARY MAY ( ${may.join(" $ ")} ) )`;
	return [
		"dn: cn=config",
		"objectClass: olcGlobal",
		"cn: config",
		"olcPidFile: data/ldap/state/run/slapd.pid",
		"olcArgsFile: data/ldap/state/run/slapd.args",
		"",
		...(existsSync(`${modules}/back_mdb.so`)
			? [
					"dn: cn=module{0},cn=config",
					"objectClass: olcModuleList",
					"cn: module{0}",
					`olcModulePath: ${modules}`,
					"olcModuleLoad: back_mdb",
					"olcModuleLoad: back_monitor",
					"",
				]
			: []),
		"dn: cn=schema,cn=config",
		"objectClass: olcSchemaConfig",
		"cn: schema",
		"",
		...["core", "cosine", "inetorgperson"].flatMap((name) => [
			`include: file:///etc/ldap/schema/${name}.ldif`,
			"",
		]),
		"dn: cn=zimbra,cn=schema,cn=config",
		"objectClass: olcSchemaConfig",
		"cn: zimbra",
		...attributes,
		classOf(1, "zimbraAccount", accountNames),
		classOf(2, "zimbraServer", ["zimbraId", ...serverNames, ...settingNames]),
		classOf(3, "zimbraGlobalConfig", settingNames),
		"",
		"dn: olcDatabase={0}config,cn=config",
		"objectClass: olcDatabaseConfig",
		"olcDatabase: {0}config",
		"olcRootDN: cn=config",
		`olcRootPW: ${rootPassword}`,
		"",
		"dn: olcDatabase={1}monitor,cn=config",
		"objectClass: olcDatabaseConfig",
		"olcDatabase: {1}monitor",
		"",
		"dn: olcDatabase={2}mdb,cn=config",
		"objectClass: olcDatabaseConfig",
		"objectClass: olcMdbConfig",
		"olcDatabase: {2}mdb",
		"olcSuffix:",
		"olcRootDN: cn=config",
		`olcAccess: {0}to * by dn.exact="${adminDn}" write by * read`,
		"olcLimits: {0}* size=unlimited time=unlimited",
		"olcDbDirectory: data/ldap/mdb/db",
		`olcDbMaxSize: ${mapSize}`,
		...(writemap
			? ["olcDbEnvFlags: writemap", "olcDbEnvFlags: nometasync", "olcDbNoSync: TRUE"]
			: []),
		"olcDbCheckpoint: 0 0",
		"olcDbMode: 0600",
		...["objectClass", "uid", "mail", "zimbraId"].map((name) => `olcDbIndex: ${name} eq`),
		"",
	].join("\n");
}
