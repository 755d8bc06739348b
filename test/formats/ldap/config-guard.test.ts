import assert from "node:assert/strict";
import { test } from "node:test";
import {
	type ConfigFile,
	judgeConfig,
	judgeDbConfigLine,
	ownValues,
} from "../../../src/formats/ldap/config-guard.ts";

const places = { home: "/opt/zimbra", ldap: "/opt/zimbra/data/ldap" };
const none = ownValues([]);
const base64 = (text: string): string => Buffer.from(text).toString("base64");

const global = `# AUTO-GENERATED FILE - DO NOT EDIT!! Use ldapmodify.
# CRC32 00f798ce
dn: cn=config
objectClass: olcGlobal
cn: config
olcConfigDir: /opt/zimbra/data/ldap/config
olcArgsFile: /opt/zimbra/data/ldap/state/run/slapd.args
olcPidFile: data/ldap/state/run/slapd.pid
olcTLSCertificateFile: /opt/zimbra/conf/slapd.crt
olcTLSCACertificatePath: /opt/zimbra/conf/ca
structuralObjectClass: olcGlobal
entryUUID: 00000000-0000-0000-0000-000000000000
`;
const moduleList = `dn: cn=module{0}
objectClass: olcModuleList
cn: module{0}
olcModulePath: /opt/zimbra/common/libexec/openldap
olcModuleLoad: {0}back_mdb.la
olcModuleLoad: {1}noopsrch.la
`;
const mdb = `dn: olcDatabase={2}mdb
objectClass: olcMdbConfig
olcDatabase: {2}mdb
olcSuffix:
olcAccess: {0}to attrs=userPassword  by anonymous auth  by dn.children="cn=adm
 ins,cn=zimbra" write
olcDbDirectory: /opt/zimbra/data/ldap/mdb/db
olcDbMaxsize: 85899345920
olcDbMode: 0600
olcDbIndex: mail pres,eq,sub
`;
const hdb = `dn: olcDatabase={3}hdb
olcDatabase: {3}hdb
olcDbDirectory: /opt/zimbra/data/ldap/hdb/db
olcDbConfig: {0}#
olcDbConfig: {4}
olcDbConfig: {16}set_lg_dir              /opt/zimbra/data/ldap/hdb/logs
olcDbConfig:: ${base64("{18}set_lk_max_locks\t3000")}
`;
const zimbra = {
	"cn=config.ldif": global,
	"cn=config/cn=module{0}.ldif": moduleList,
	"cn=config/olcDatabase={2}mdb.ldif": mdb,
	"cn=config/olcDatabase={3}hdb.ldif": hdb,
};

const filesOf = (texts: Readonly<Record<string, string>>): ConfigFile[] =>
	Object.entries(texts).map(([path, text]) => ({ path, text }));

test("the configuration of slapd as Zimbra ships it is taken over, and its modules are named", () => {
	const { refused, modules: found } = judgeConfig(filesOf(zimbra), places, none);
	assert.equal(refused, undefined);
	const directories = ["/opt/zimbra/common/libexec/openldap"];
	assert.deepEqual(found, [
		{ name: "back_mdb.la", directories },
		{ name: "noopsrch.la", directories },
	]);
});

test("what old and other installations of Zimbra have is taken over", () => {
	const more = `olcLogFile: /opt/zimbra/log/slapd.log
olcPasswordCryptSaltFormat: $6$%.16s
`;
	const old = global
		.replace("/opt/zimbra/data/ldap/state/run/slapd.args", "openldap/var/run/slapd.args")
		.replace("data/ldap/state/run/slapd.pid", "/opt/zimbra/openldap/var/run/slapd.pid");
	const audit = `${mdb}olcAuditlogFile: /opt/zimbra/log/openldap-audit.log\n`;
	const files = {
		...zimbra,
		"cn=config.ldif": old + more,
		"cn=config/olcDatabase={2}mdb.ldif": audit,
	};
	assert.equal(judgeConfig(filesOf(files), places, none).refused, undefined);
});

test("lines of any length are read once", () => {
	// Read again from each blank, these took minutes.
	const blanks = " ".repeat(400_000);
	for (const end of ["\r", "\0", "\u2028\r"]) {
		const files = [{ path: "cn=config.ldif", text: `dn: cn=config\ncn:${blanks}${end}\n` }];
		assert.match(
			judgeConfig(files, places, none).refused ?? "",
			/slapd does not write such a line/,
		);
	}
	const named = [{ path: "cn=config.ldif", text: `dn: cn=config\ncn:${blanks}a\u2028b\n` }];
	assert.equal(judgeConfig(named, places, none).refused, undefined);
});

/** Each is one more line, in that file. */
const attacks: Readonly<Record<string, readonly [keyof typeof zimbra, string]>> = {
	"a module of the copied tree": [
		"cn=config/cn=module{0}.ldif",
		"olcModuleLoad: {2}/opt/zimbra/data/ldap/config/evil.so",
	],
	"a module by a path that leads there": [
		"cn=config/cn=module{0}.ldif",
		"olcModuleLoad: ../../../data/ldap/config/evil.so",
	],
	"a module path in the copied tree": [
		"cn=config/cn=module{0}.ldif",
		"olcModulePath: /opt/zimbra/common/libexec/openldap:/opt/zimbra/data/ldap/config",
	],
	"a module path of the redo log": ["cn=config/cn=module{0}.ldif", "olcModulePath: redolog"],
	"a module that runs programs": ["cn=config/cn=module{0}.ldif", "olcModuleLoad: back_perl"],
	"the same in capitals": ["cn=config/cn=module{0}.ldif", "OLCMODULELOAD: back_perl"],
	"the same in base64": [
		"cn=config/cn=module{0}.ldif",
		`olcModuleLoad:: ${base64("/opt/zimbra/data/ldap/config/evil.so")}`,
	],
	"the same, folded": ["cn=config/cn=module{0}.ldif", "olcModule\n Load: back\n _perl"],
	"the same by its number": [
		"cn=config/cn=module{0}.ldif",
		"1.3.6.1.4.1.4203.1.12.2.3.0.31: back_perl",
	],
	"a module in quotes": ["cn=config/cn=module{0}.ldif", 'olcModuleLoad: "/tmp/evil.so"'],
	"a value that is read from a file": ["cn=config.ldif", "olcPidFile:< file:///etc/passwd"],
	"an attribute with an option": ["cn=config.ldif", "olcPidFile;x-a: /tmp/pid"],
	"a line folded with a tab": ["cn=config.ldif", "olcThreads: 8\n\tolcPidFile: /tmp/pid"],
	"a second entry": ["cn=config.ldif", "\ndn: cn=other\nolcThreads: 8"],
	"a line that ends early": ["cn=config.ldif", "olcThreads: 8\rolcPidFile: /tmp/pid"],
	"a pid file elsewhere": ["cn=config.ldif", "olcPidFile: /opt/zimbra/conf/localconfig.xml"],
	"an argument file elsewhere": ["cn=config.ldif", "olcArgsFile: data/ldap/state/run/../../x"],
	"a log file elsewhere": ["cn=config.ldif", "olcLogFile: /opt/zimbra/.ssh/authorized_keys"],
	"a log file that is none": ["cn=config.ldif", "olcLogFile: /opt/zimbra/log/mysql.pid"],
	"the log of mailboxd": ["cn=config.ldif", "olcLogFile: /opt/zimbra/log/mailbox.log"],
	"an audit in mailboxd's log": [
		"cn=config/olcDatabase={2}mdb.ldif",
		"olcAuditlogFile: /opt/zimbra/log/audit.log",
	],
	"a pid file of another name": [
		"cn=config.ldif",
		"olcPidFile: /opt/zimbra/data/ldap/state/run/slapd.args",
	],
	"an argument file of another name": [
		"cn=config.ldif",
		"olcArgsFile: /opt/zimbra/data/ldap/state/run/slapd.pid",
	],
	"a path that goes up": ["cn=config.ldif", "olcTLSCACertificateFile: conf/ca/../slapd.crt"],
	"a module path that goes up": [
		"cn=config/cn=module{0}.ldif",
		"olcModulePath: /opt/zimbra/common/../common/libexec/openldap",
	],
	"a salt that prints memory": ["cn=config.ldif", "olcPasswordCryptSaltFormat: $6$%n%.16s"],
	"a salt of any length": ["cn=config.ldif", "olcPasswordCryptSaltFormat: %.999s"],
	"a key elsewhere": ["cn=config.ldif", "olcTLSCertificateKeyFile: /proc/self/environ"],
	"a plugin": ["cn=config.ldif", "olcPlugin: preoperation /tmp/evil.so init"],
	"a list of files to read": ["cn=config.ldif", "olcInclude: /tmp/slapd.conf"],
	"an attribute that nobody knows": ["cn=config.ldif", "olcFromTomorrow: 1"],
	"data beside data/ldap": [
		"cn=config/olcDatabase={2}mdb.ldif",
		"olcDbDirectory: /opt/zimbra/store",
	],
	"a second directory": [
		"cn=config/olcDatabase={2}mdb.ldif",
		"olcDbDirectory: /opt/zimbra/data/ldap/mdb/db2",
	],
	"data in the configuration": [
		"cn=config/olcDatabase={3}hdb.ldif",
		"olcDbDirectory: data/ldap/config/db",
	],
	"data that anybody can write": ["cn=config/olcDatabase={2}mdb.ldif", "olcDbMode: 0666"],
	"another kind of database": ["cn=config/olcDatabase={2}mdb.ldif", "olcDatabase: {2}perl"],
	"code of a database": ["cn=config/olcDatabase={2}mdb.ldif", "olcPerlModulePath: /tmp"],
	"a log directory of BerkeleyDB elsewhere": [
		"cn=config/olcDatabase={3}hdb.ldif",
		"olcDbConfig: {20}set_lg_dir /opt/zimbra/store",
	],
	"two lines in one of BerkeleyDB": [
		"cn=config/olcDatabase={3}hdb.ldif",
		`olcDbConfig:: ${base64("#\nset_lg_dir /tmp")}`,
	],
};

for (const [what, [path, line]] of Object.entries(attacks)) {
	test(`a copied slapd configuration is refused for ${what}`, () => {
		const texts = { ...zimbra, [path]: `${zimbra[path]}${line}\n` };
		const { refused = "" } = judgeConfig(filesOf(texts), places, none);
		assert.ok(refused.startsWith(`config/${path}: `), refused);
		assert.doesNotMatch(refused, /\p{Cc}/u);
	});
}

test("a database is refused where its file and its entry have different names", () => {
	const texts = [
		mdb.replaceAll("{2}mdb", "{2}perl"),
		mdb.replace("dn: olcDatabase={2}mdb", "dn: olcDatabase={3}mdb"),
		mdb.replace("olcDatabase: {2}mdb\n", ""),
	];
	for (const text of texts) {
		const files = [{ path: "cn=config/olcDatabase={2}mdb.ldif", text }];
		assert.notEqual(judgeConfig(files, places, none).refused, undefined, text);
	}
});

test("what this server's own configuration has is taken over, but no module of the copied tree", () => {
	const wanted = `${moduleList}olcModuleLoad: {2}ppolicy.la\n`;
	const own = ownValues([{ path: "any", text: wanted.replace("{2}", "{0}") }]);
	const files = [{ path: "cn=config/cn=module{0}.ldif", text: wanted }];
	assert.equal(judgeConfig(files, places, own).refused, undefined);
	assert.match(judgeConfig(files, places, none).refused ?? "", /none of Zimbra's/);
	for (const line of [
		"olcModulePath: /opt/zimbra/data/ldap/config\n",
		"olcModuleLoad: /opt/zimbra/data/ldap/config/evil.so\n",
	]) {
		const both = [{ path: "cn=config/cn=module{0}.ldif", text: moduleList + line }];
		const { refused } = judgeConfig(both, places, ownValues(both));
		assert.notEqual(refused, undefined, line);
	}
});

test("a DB_CONFIG of BerkeleyDB names directories of data/ldap only", () => {
	for (const line of ["", "# words", "set_cachesize 0 52428800 0", "set_lg_dir ../logs"]) {
		const refused = judgeDbConfigLine(line, places);
		assert.equal(refused === undefined, !line.includes(".."), line);
	}
	assert.equal(judgeDbConfigLine("set_lg_dir /opt/zimbra/data/ldap/hdb/logs", places), undefined);
	assert.notEqual(judgeDbConfigLine("set_lg_dir /opt/zimbra/data/ldap/../../x", places), undefined);
	assert.notEqual(judgeDbConfigLine("set_tmp_dir /tmp", places), undefined);
});
