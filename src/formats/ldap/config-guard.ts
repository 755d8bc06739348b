import { basename, resolve } from "node:path";
import { foreignWords } from "../foreign-words.ts";
import { type ConfigLine, parseConfigEntry, withoutOrder } from "./config-entry.ts";

const shorten = (text: string): string => foreignWords(text, 100);

/**
 * cn=config comes from the live server, and slapd does what it says: it loads modules, and it writes files
 * of any name. So no program opens a copied one before each of its values was found harmless here. What is
 * not known to be harmless is refused, except where this server's own cn=config has the very same value:
 * its slapd does that already, since an administrator of this server wanted it.
 *
 * Names: OpenLDAP 2.4 to 2.6, servers/slapd/bconfig.c and what its backends and overlays add.
 */
export type ConfigFile = {
	/** below config/ */
	readonly path: string;
	readonly text: string;
};

/** Where things are on this server. */
export type ConfigPlaces = {
	/** what slapd's relative names are relative to */
	readonly home: string;
	/** data/ldap as cn=config calls it */
	readonly ldap: string;
};

export type ConfigVerdict =
	| {
			/** modules that slapd would load; whether they are this server's own is seen on the disk */
			readonly modules: readonly ConfigModule[];
			readonly refused?: never;
	  }
	/** which value of which file, and why; ends without a full stop */
	| { readonly refused: string; readonly modules?: never };

export type ConfigModule = {
	/** `back_mdb.la` */
	readonly name: string;
	/** of olcModulePath; none: where slapd was built to look */
	readonly directories: readonly string[];
};

/** What a cn=config holds already: see {@link ownValues}. */
export type OwnValues = ReadonlySet<string>;

/** The values of this server's own cn=config; what cannot be read there allows nothing. */
export function ownValues(files: readonly ConfigFile[]): OwnValues {
	const own = new Set<string>();
	for (const { text } of files) {
		try {
			for (const line of parseConfigEntry(text)) own.add(key(line));
		} catch {
			// Written by hand, perhaps; then it is slapd's matter.
		}
	}
	return own;
}

export function judgeConfig(
	files: readonly ConfigFile[],
	places: ConfigPlaces,
	own: OwnValues,
): ConfigVerdict {
	const modules: ConfigModule[] = [];
	for (const { path, text } of files) {
		const refuse = (what: string): ConfigVerdict => ({
			refused: `config/${shorten(path)}: ${what}`,
		});
		let lines: ConfigLine[];
		try {
			lines = parseConfigEntry(text);
		} catch (error) {
			return refuse(error instanceof Error ? error.message : "cannot be read");
		}
		const named = lines.some(({ name }) => name === "olcdatabase");
		if (/^olcDatabase=/i.test(basename(path)) && !named) return refuse("it has no olcDatabase");
		for (const line of lines) {
			const reason = judgeLine(line, lines, path, places, own);
			if (reason !== undefined) {
				return refuse(`${line.name}: ${shorten(line.value)} is not taken over: ${reason}`);
			}
		}
		const directories = valuesOf(lines, "olcmodulepath").flatMap((value) => split(value, places));
		for (const value of valuesOf(lines, "olcmoduleload")) {
			const [name = ""] = value.split(" ");
			modules.push({ name, directories });
		}
	}
	return { modules };
}

function judgeLine(
	line: ConfigLine,
	lines: readonly ConfigLine[],
	path: string,
	places: ConfigPlaces,
	own: OwnValues,
): string | undefined {
	const { name, value } = line;
	// What is in the copied tree comes from the live server, whatever this server's cn=config says of it.
	const isLoaded = name === "olcmodulepath" || name === "olcmoduleload";
	const isForeign = isLoaded && split(value, places).some(isCopied(places));
	if (!isForeign && name !== "olcdatabase" && own.has(key(line))) return undefined;
	const rule = rules.get(name);
	if (rule !== undefined) return rule(withoutOrder(value), places, { lines, path });
	return harmless.has(name) ? undefined : "it is not known to be harmless";
}

type Rule = (
	value: string,
	places: ConfigPlaces,
	entry: { readonly lines: readonly ConfigLine[]; readonly path: string },
) => string | undefined;

/** Values that have an order have a number before them, which a copy may shift. */
const key = ({ name, value }: ConfigLine): string => `${name}\0${withoutOrder(value)}`;

const valuesOf = (lines: readonly ConfigLine[], name: string): string[] =>
	lines.filter((line) => line.name === name).map(({ value }) => withoutOrder(value));

/** olcModulePath has several directories between colons. Source: slapd-config(5). */
const split = (value: string, { home }: ConfigPlaces): string[] =>
	withoutOrder(value)
		.split(":")
		.map((each) => resolve(home, each));

const isCopied =
	({ ldap }: ConfigPlaces) =>
	(path: string): boolean =>
		`${path}/`.startsWith(`${ldap}/`);

/** slapd cuts values at blanks, and knows quotes and backslashes; a name with none of them is one name. */
const plain = /^[\w./+@=~-]+$/;
/** Behind a link the kernel goes up from another place than the text says. */
const goesUp = (path: string): boolean => path.split("/").includes("..");

/** A file or directory below one of these, or one of these itself. */
const below =
	(...allowed: ((places: ConfigPlaces) => string)[]): Rule =>
	(value, places) => {
		const directories = allowed.map((each) => each(places));
		if (!plain.test(value) || goesUp(value)) return "it is no plain name of a file";
		const path = resolve(places.home, value);
		if (directories.some((each) => path === each || path.startsWith(`${each}/`))) return undefined;
		return `it is not in ${directories.join(" or ")}`;
	};

const inHome =
	(name: string) =>
	({ home }: ConfigPlaces): string =>
		`${home}/${name}`;
const inLdap =
	(name: string) =>
	({ ldap }: ConfigPlaces): string =>
		`${ldap}/${name}`;
const exactly = (path: string) => (): string => path;

/** The same for a file whose name has this form. */
const named =
	(form: RegExp, inside: Rule): Rule =>
	(value, places, entry) =>
		inside(value, places, entry) ??
		(form.test(basename(value)) ? undefined : "no such file of slapd's has that name");

// Zimbra 7 and 8.0 have openldap/var/run. slapd empties these files: they are to be no other program's.
const ofRun = below(inLdap("state/run"), inHome("openldap/var/run"));
const ofTls = below(
	inHome("conf"),
	inHome("ssl"),
	inHome("common/etc"),
	inHome("common/share"),
	exactly("/etc/ssl"),
	exactly("/etc/pki"),
);
/** Not mailbox.log and audit.log: slapd would empty them. */
const log = named(/^(?:slapd|ldap|openldap)[\w-]*\.log$/, below(inHome("log")));

/** crypt's salt is made by printf: one string, and nothing else that printf knows. */
const saltFormat: Rule = (value) =>
	/^[\w$./]*%(?:\.\d{1,2})?s[\w$./]*$/.test(value)
		? undefined
		: "it is not one %s in plain letters";

/** Where Zimbra, Carbonio and the usual distributions have the modules of slapd. */
const moduleDirectories = [
	inHome("common/libexec/openldap"),
	inHome("common/lib/openldap"),
	inHome("openldap/sbin/openldap"),
	inHome("openldap/libexec/openldap"),
	exactly("/usr/lib/ldap"),
	exactly("/usr/lib/openldap"),
	exactly("/usr/lib64/openldap"),
	exactly("/usr/libexec/openldap"),
];

/**
 * Modules that run no program, load no other code and write no files of a name that can be given. ppolicy
 * is none of them: a policy entry may name a module that checks passwords.
 */
const harmlessModules = new Set([
	...["back_mdb", "back_hdb", "back_bdb", "back_monitor", "back_ldif", "back_null"],
	...["accesslog", "syncprov", "dynlist", "unique", "noopsrch", "pw-sha2", "pw-pbkdf2", "argon2"],
	...["constraint", "memberof", "refint", "valsort", "sssvlv", "deref", "collect", "dds"],
	...["lastbind", "seqmod", "usn", "autogroup", "allop", "nops"],
]);
const backends = new Set(["mdb", "hdb", "bdb", "monitor", "config", "frontend", "ldif", "null"]);

const moduleLoad: Rule = (value) => {
	const match = /^([\w-]+)(?:\.la|\.so)?(?: [\w.=-]+)*$/.exec(value);
	if (match === null) return "a module has a name alone, and is looked for in olcModulePath";
	return harmlessModules.has(match[1] ?? "") ? undefined : "this module is none of Zimbra's";
};

const modulePath: Rule = (value, places) => {
	const directories = moduleDirectories.map((each) => each(places));
	const foreign = value
		.split(":")
		.find(
			(each) =>
				!plain.test(each) || goesUp(each) || !directories.includes(resolve(places.home, each)),
		);
	return foreign === undefined ? undefined : "slapd has no modules of this server there";
};

const backend: Rule = (value) =>
	backends.has(value.toLowerCase()) ? undefined : "Zimbra has no such database";

/** The name of the file, of the entry and of the database say the same, or slapd opens what we did not read. */
const database: Rule = (value, places, entry) => {
	const { lines, path } = entry;
	const file = basename(path, ".ldif");
	const names = lines.flatMap((line) => {
		if (line.name === "dn") return [line.value];
		return line.name === "olcdatabase" ? [`olcDatabase=${line.value}`] : [];
	});
	if (names.length !== 2 || names.some((name) => name !== file)) {
		return `the file has another name than its entry: ${names.map(shorten).join(", ")}`;
	}
	return backend(value, places, entry);
};

const databaseDirectory: Rule = (value, places, { lines, path }) => {
	if (valuesOf(lines, "olcdbdirectory").length > 1) return "a database has one directory";
	const bad = below(({ ldap }) => ldap)(value, places, { lines, path });
	if (bad !== undefined) return bad;
	const place = resolve(places.home, value).slice(places.ldap.length + 1);
	return /^(?:config|state)?(?:\/|$)/.test(place) ? "slapd keeps something else there" : undefined;
};

/** Nobody but the owner may write, whatever the live server has. */
const mode: Rule = (value) =>
	/^0?[0-7][04]{2}$/.test(value) ? undefined : "the files of LDAP are slapd's alone";

/** A line of BerkeleyDB's DB_CONFIG. */
export function judgeDbConfigLine(line: string, places: ConfigPlaces): string | undefined {
	if (/^\s*(?:#|$)/.test(line)) return undefined;
	const [name = "", ...words] = line.trim().split(/\s+/);
	if (name === "set_lg_dir" || name === "set_data_dir") {
		const [directory = ""] = words;
		if (words.length !== 1 || !plain.test(directory)) return "it is no plain name of a directory";
		// Relative to the database's own directory, below which it stays.
		if (goesUp(directory)) return "it is no plain name of a directory";
		if (!directory.startsWith("/")) return undefined;
		return isCopied(places)(resolve(directory)) ? undefined : `it is not in ${places.ldap}`;
	}
	return /^(?:set_cachesize|set_flags|set_log_config|set_lg_(?:bsize|max|regionmax)|set_lk_\w+)$/.test(
		name,
	)
		? undefined
		: "it is not known to be harmless";
}

const dbConfig: Rule = (value, places) => {
	if (/[\r\n]/.test(value)) return "it has more than one line";
	return judgeDbConfigLine(value, places);
};

const rules: ReadonlyMap<string, Rule> = new Map<string, Rule>([
	["olcmoduleload", moduleLoad],
	["olcmodulepath", modulePath],
	["olcdatabase", database],
	["olcbackend", backend],
	["olcdbdirectory", databaseDirectory],
	["olcdbmode", mode],
	["olcdbconfig", dbConfig],
	["olcpidfile", named(/.\.pid$/, ofRun)],
	["olcargsfile", named(/.\.args$/, ofRun)],
	["olclogfile", log],
	["olcauditlogfile", log],
	["olcpasswordcryptsaltformat", saltFormat],
	["olcconfigdir", below(inLdap("config"))],
	["olcconfigfile", below(inHome("conf"), inHome("common/etc"), inHome("openldap/etc"))],
	["olctlscacertificatefile", ofTls],
	["olctlscacertificatepath", ofTls],
	["olctlscertificatefile", ofTls],
	["olctlscertificatekeyfile", ofTls],
	["olctlscrlfile", ofTls],
	["olctlsdhparamfile", ofTls],
	["olctlsrandfile", below(exactly("/dev/random"), exactly("/dev/urandom"))],
]);

const words = (text: string): string[] => text.toLowerCase().trim().split(/\s+/);

/** Neither code nor a name of a file: numbers, switches, names of attributes, access rules, schema. */
const harmless: ReadonlySet<string> = new Set([
	...words("dn objectClass cn structuralObjectClass entryUUID entryCSN entryDN contextCSN"),
	...words("creatorsName createTimestamp modifiersName modifyTimestamp hasSubordinates"),
	...words(`
		olcAccess olcAddContentAcl olcAllows olcAttributeOptions olcAttributeTypes olcAuthzPolicy
		olcAuthzRegexp olcConcurrency olcConnMaxPending olcConnMaxPendingAuth olcDefaultSearchBase
		olcDisabled olcDisallows olcDitContentRules olcExtraAttrs olcGentleHUP olcHidden olcIdleTimeout
		olcIndexHash64 olcIndexIntLen olcIndexSubstrAnyLen olcIndexSubstrAnyStep olcIndexSubstrIfMaxLen
		olcIndexSubstrIfMinLen olcLastBind olcLastBindPrecision olcLastMod olcLdapSyntaxes olcLimits
		olcListenerThreads olcLocalSSF olcLogFileFormat olcLogFileOnly olcLogFileRotate olcLogLevel
		olcMaxDerefDepth olcMaxFilterDepth olcMirrorMode olcMonitoring olcMultiProvider olcObjectClasses
		olcObjectIdentifier olcOverlay olcPasswordHash olcReadOnly olcReferral
		olcRequires olcRestrict olcReverseLookup olcRootDN olcRootPW olcSaslAuxprops
		olcSaslAuxpropsDontUseCopy olcSaslAuxpropsDontUseCopyIgnore olcSaslCBinding olcSaslHost
		olcSaslRealm olcSaslSecProps olcSchemaDN olcSecurity olcServerID olcSizeLimit
		olcSockbufMaxIncoming olcSockbufMaxIncomingAuth olcSortVals olcSubordinate olcSuffix
		olcSyncUseSubentry olcSyncrepl olcTCPBuffer olcThreadQueues olcThreads olcTimeLimit
		olcTLSCACertificate;binary olcTLSCertificate;binary olcTLSCertificateKey;binary olcTLSCRLCheck
		olcTLSCipherSuite olcTLSECName olcTLSProtocolMin olcTLSVerifyClient olcToolThreads olcUpdateDN
		olcUpdateRef olcWriteTimeout`),
	...words(`
		olcBkMdbIdlExp olcDbCacheFree olcDbCacheSize olcDbCheckpoint olcDbChecksum olcDbDirtyRead
		olcDbDNcacheSize olcDbEnvFlags olcDbIDLcacheSize olcDbIndex olcDbLinearIndex olcDbLockDetect
		olcDbMaxEntrySize olcDbMaxReaders olcDbMaxSize olcDbMultival olcDbNoSync olcDbPageSize
		olcDbRtxnSize olcDbSearchStack olcDbShmKey`),
	...words(`
		olcAccessLogBase olcAccessLogDB olcAccessLogOld olcAccessLogOldAttr olcAccessLogOps
		olcAccessLogPurge olcAccessLogSuccess olcAGattrSet olcAGmemberOfAd olcCollectInfo
		olcConstraintAttribute olcDDSdefaultTtl olcDDSinterval olcDDSmaxDynamicObjects olcDDSmaxTtl
		olcDDSminTtl olcDDSstate olcDDStolerance olcDlAttrSet olcDynListAttrSet
		olcLastBindForwardUpdates olcMemberOfAddCheck olcMemberOfDangling olcMemberOfDanglingError
		olcMemberOfDN olcMemberOfGroupOC olcMemberOfMemberAD olcMemberOfMemberOfAD olcMemberOfRefInt
		olcRefintAttribute olcRefintModifiersName olcRefintNothing olcSpCheckpoint olcSpNoPresent
		olcSpReloadHint olcSpSessionlog olcSpSessionlogSource olcSssVlvMax olcSssVlvMaxKeys
		olcSssVlvMaxPerConn olcUniqueAttribute olcUniqueBase olcUniqueIgnore olcUniqueStrict
		olcUniqueURI olcValSortAttr`),
]);
