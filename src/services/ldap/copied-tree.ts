import { lstat, readdir, readFile, realpath, stat } from "node:fs/promises";
import { join } from "node:path";
import { Refusal } from "../../errors.ts";
import { foreignWords } from "../../formats/foreign-words.ts";
import {
	type ConfigFile,
	type ConfigModule,
	judgeConfig,
	judgeDbConfigLine,
	ownValues,
} from "../../formats/ldap/config-guard.ts";
import type { Config } from "../config.ts";
import { readIfThere } from "../files.ts";
import type { PeerConfig } from "../peer-config.ts";
import { areaOf, type LdapDatabase, listTree, readDatabases } from "./directory.ts";
import { markerName } from "./places.ts";

/** A configuration of which it may not be known which server is which: `stop` needs no other server. */
type GuardConfig = Config & Partial<Pick<PeerConfig, "remoteAddress">>;

/**
 * All that can be asked of a copy without a program that opens it: plain files, a harmless cn=config, and
 * nothing beside that and its databases. Returns these.
 */
export async function demandHarmlessCopy(
	config: GuardConfig,
	copy: string,
): Promise<LdapDatabase[]> {
	await demandPlainTree(config, copy);
	await demandHarmlessConfig(config, copy);
	const databases = await readDatabases(copy, config.zimbra.ldap, config.zimbra.home);
	const known = new Set(["config", "state", markerName, ...databases.map(areaOf)]);
	for (const name of await readdir(copy)) {
		if (known.has(name)) continue;
		throw strangeTree(
			config,
			`${foreignWords(name, 100)} is neither of the configuration nor of a database that it names`,
		);
	}
	return databases;
}

/** A tree that no round of this version leaves: one of an older version, or another rsync than is known. */
const strangeTree = (config: GuardConfig, what: string): Refusal =>
	new Refusal(
		"ldap-config",
		`the LDAP copy from ${from(config)} is not used: ${what}`,
		"the next round fetches a new one; where it is refused again, look at that name below data/ldap on the live server (ls -la): slapd has no such thing there",
	);

/** Set-uid, set-gid and sticky bits, and the right to write for others than the owner. */
const badBits = 0o7022;

/**
 * Throws where a copy holds anything but files and directories that their owner alone can write: rsync
 * takes nothing else over, so this is about an rsync that is not what we think.
 */
async function demandPlainTree(config: GuardConfig, root: string): Promise<void> {
	const names = await readdir(root, { recursive: true });
	for (const name of ["", ...names]) {
		const path = foreignWords(join(root, name), 300);
		const found = await lstat(join(root, name));
		if (!found.isFile() && !found.isDirectory()) {
			throw strangeTree(config, `${path} is neither a file nor a directory`);
		}
		if ((found.mode & badBits) !== 0) {
			throw strangeTree(config, `${path} has the mode ${(found.mode & 0o7777).toString(8)}`);
		}
	}
}

/**
 * Throws a {@link Refusal} where the cn=config of a copy would have slapd run or write what this server's
 * own does not, or holds a file that slapd does not read there: whoever has the LDAP root's password,
 * which both servers share, could have this server's slapd load that as a module. Before this check
 * nothing but live-syncd may open the copy.
 */
export async function demandHarmlessConfig(config: GuardConfig, copy: string): Promise<void> {
	const { home, ldap } = config.zimbra;
	for (const path of (await listTree(join(copy, "config"))).files) {
		if (path.endsWith(".ldif")) continue;
		throw refusal(config, `config/${foreignWords(path, 100)} is no .ldif file`);
	}
	const own = ownValues(await readConfig(join(ldap, "config")).catch(() => []));
	const files = await readConfig(join(copy, "config")).catch((error: unknown) => {
		throw error instanceof TooMuchConfig ? refusal(config, error.message) : error;
	});
	const { refused, modules } = judgeConfig(files, { home, ldap }, own);
	if (refused !== undefined) throw refusal(config, refused);
	for (const module of modules) await demandModule(config, module);
	for (const name of await readdir(copy, { recursive: true })) {
		if (name !== "DB_CONFIG" && !name.endsWith("/DB_CONFIG")) continue;
		if ((await lstat(join(copy, name))).size > maxDbConfigBytes) {
			throw refusal(config, `${foreignWords(name, 100)} is not taken over: it has more than 1 MiB`);
		}
		for (const line of ((await readIfThere(join(copy, name))) ?? "").split("\n")) {
			const reason = judgeDbConfigLine(line, { home, ldap });
			if (reason !== undefined)
				throw refusal(config, `${foreignWords(name, 100)} is not taken over: ${reason}`);
		}
	}
}

/** Zimbra has some dozens of files, 1 or 2 MiB together; slapd would read more, but so would we. */
const maxFiles = 2000;
const maxConfigBytes = 16 * 2 ** 20;
const maxDbConfigBytes = 2 ** 20;

class TooMuchConfig extends Error {}

/**
 * The files that slapd reads there: it looks at no other names. Source: servers/slapd/back-ldif.
 * Throws where they are more than any cn=config has.
 */
async function readConfig(root: string): Promise<ConfigFile[]> {
	const files: ConfigFile[] = [];
	let bytes = 0;
	for (const path of (await readdir(root, { recursive: true })).toSorted()) {
		if (!path.endsWith(".ldif")) continue;
		const file = join(root, path);
		const found = await lstat(file);
		if (!found.isFile()) continue;
		bytes += found.size;
		if (bytes > maxConfigBytes || files.length === maxFiles) {
			const limits = `${maxFiles} files or ${maxConfigBytes / 2 ** 20} MiB`;
			throw new TooMuchConfig(`cn=config has more than ${limits}, so it is not read`);
		}
		files.push({ path, text: await readFile(file, "utf8") });
	}
	return files;
}

/**
 * A module file must not have come from the live server, and others must not be able to change it. Without
 * a file it may be part of slapd itself, as back_monitor is in Debian; if not, slapcat says so.
 */
async function demandModule(
	config: GuardConfig,
	{ name, directories }: ConfigModule,
): Promise<void> {
	const refuse = (what: string) => refusal(config, `slapd would load the module ${name}: ${what}`);
	// Without olcModulePath slapd looks where its package has them.
	if (directories.length === 0 && !name.startsWith("/")) return;
	const copies = await Promise.all([config.zimbra.ldap, config.base.ldap].map(whole));
	for (const directory of name.startsWith("/") ? [""] : directories) {
		for (const ending of ["", ".la", ".so"]) {
			const path = join(directory, name + ending);
			const found = await stat(path).catch(() => undefined);
			if (found?.isFile() !== true) continue;
			const real = await realpath(path);
			if (copies.some((each) => real.startsWith(`${each}/`))) {
				throw refuse(`${path} came from the live server`);
			}
			if ((found.mode & 0o002) !== 0) throw refuse(`anybody can write ${path}`);
			return;
		}
	}
}

const whole = (path: string): Promise<string> => realpath(path).catch(() => path);

const from = ({ remoteAddress = "the live server" }: GuardConfig): string => remoteAddress;

const refusal = (config: GuardConfig, what: string): Refusal =>
	new Refusal(
		"ldap-config",
		`the LDAP copy from ${from(config)} is not used, its slapd configuration is not safe here: ${what}`,
		`find out on ${from(config)} who configured that. If it is wanted, make the same change on this server first: ldapmodify -x -H ldapi:/// -D cn=config -W; what this server's own cn=config has is taken over`,
	);
