import { createHash } from "node:crypto";
import { lstat, readdir, readFile } from "node:fs/promises";
import { basename, join, relative, resolve } from "node:path";
import { hasCode } from "../../errors.ts";
import { type ConfiguredDatabase, parseDatabase } from "../../formats/ldap/config-ldif.ts";
import type { LdapMark } from "../../formats/ldap/mark.ts";
import { type Environment, readEnvironment } from "./lmdb.ts";

/** A database of slapd, and where it lies below data/ldap. */
export type LdapDatabase = ConfiguredDatabase & {
	/** `mdb/db` */
	readonly place: string;
};

/**
 * The databases that the cn=config below `root` names.
 * @param root data/ldap, or a copy of it
 * @param configuredRoot what cn=config calls it: data/ldap below zimbra_home, on both hosts
 * @param home what relative names are relative to
 */
export async function readDatabases(
	root: string,
	configuredRoot: string,
	home: string,
): Promise<LdapDatabase[]> {
	const directory = join(root, "config/cn=config");
	const names = await readdir(directory).catch((error: unknown) => {
		throw new Error(`${directory} cannot be read: LDAP is followed by its cn=config`, {
			cause: error,
		});
	});
	const found: LdapDatabase[] = [];
	for (const name of names.toSorted()) {
		if (!name.endsWith(".ldif")) continue;
		const database = parseDatabase(name, await readFile(join(directory, name), "utf8"));
		if (database === undefined) continue;
		const place = relative(configuredRoot, resolve(home, database.directory));
		if (place === "" || place.startsWith("..")) {
			throw new Error(
				`${join(directory, name)} keeps its data in ${database.directory}, which is not below ${configuredRoot}: it cannot be followed; move it there (slapcat, olcDbDirectory, slapadd)`,
			);
		}
		found.push({ ...database, place });
	}
	if (found.length > 0) return found;
	throw new Error(`${directory} names no database with data: nothing to follow`);
}

/** The directories of LMDB environments among them. */
export const environmentsOf = (databases: readonly LdapDatabase[]): string[] =>
	databases.filter(({ backend }) => backend === "mdb").map(({ place }) => place);

/** What of a database's directory belongs to one host and one run of slapd, and is never copied. */
function staysHere(path: string): boolean {
	const name = basename(path);
	return (
		name === "lock.mdb" ||
		name.endsWith(".pid") ||
		name.startsWith(".live_sync") ||
		// BerkeleyDB's shared memory and its note of who has it open
		name === "alock" ||
		/^__db\.\d+$/.test(name)
	);
}

/** Not hdb/db alone: BerkeleyDB writes to its logs first, which Zimbra 7 has in hdb/logs. */
export const areaOf = ({ place }: LdapDatabase): string => place.split("/")[0] ?? place;

export type Tree = { readonly directories: string[]; readonly files: string[] };

/** All directories and all regular files, as paths below `root`, sorted. */
export async function listTree(root: string): Promise<Tree> {
	const directories: string[] = [];
	const files: string[] = [];
	const visit = async (below: string): Promise<void> => {
		for (const entry of await readdir(join(root, below), { withFileTypes: true })) {
			const path = below === "" ? entry.name : `${below}/${entry.name}`;
			if (entry.isDirectory()) {
				directories.push(path);
				await visit(path);
			} else if (entry.isFile()) {
				files.push(path);
			}
		}
	};
	await visit("");
	return { directories: directories.toSorted(), files: files.toSorted() };
}

/**
 * What is copied of data/ldap: cn=config and the databases that it names, but the data.mdb of those, which
 * mdb_copy copies. Nothing else that may lie there: ldap.bak of an upgrade, a lost+found that nobody may
 * read. And the directory in which slapd leaves its pid file, empty.
 */
export async function listOwn(root: string, databases: readonly LdapDatabase[]): Promise<Tree> {
	const directories = new Set<string>();
	const files: string[] = [];
	const visit = async (below: string, wanted: (path: string) => boolean): Promise<void> => {
		directories.add(below);
		for (const entry of await readdir(join(root, below), { withFileTypes: true })) {
			const path = `${below}/${entry.name}`;
			// Of each file system that is mounted there.
			if (entry.name === "lost+found") continue;
			if (entry.isDirectory()) await visit(path, wanted);
			else if (entry.isFile() && wanted(path)) files.push(path);
		}
	};
	// slapd looks at no other names. Source: servers/slapd/back-ldif.
	await visit("config", (path) => path.endsWith(".ldif"));
	for (const database of databases) {
		if (database.backend === "mdb") {
			const parts = database.place.split("/");
			for (const [index] of parts.entries()) directories.add(parts.slice(0, index + 1).join("/"));
		} else {
			await visit(areaOf(database), (path) => !staysHere(path));
		}
	}
	for (const path of ["state", "state/run"]) {
		if ((await lstat(join(root, path)).catch(() => undefined))?.isDirectory() === true) {
			directories.add(path);
		}
	}
	return { directories: [...directories].toSorted(), files: files.toSorted() };
}

/** What tells whether one of {@link listOwn} was written, without reading it, by its path. */
export async function stateOfFiles(
	root: string,
	databases: readonly LdapDatabase[],
): Promise<Map<string, string>> {
	const states = new Map<string, string>();
	for (const path of (await listOwn(root, databases)).files) {
		states.set(path, await stateOf(join(root, path)));
	}
	return states;
}

/** A file that is replaced in just that moment has a state too. */
async function stateOf(path: string): Promise<string> {
	const { ino, size, mtimeNs } = await lstat(path, { bigint: true }).catch(
		(error: unknown): { ino?: bigint; size?: bigint; mtimeNs?: bigint } => {
			if (hasCode(error, "ENOENT")) return {};
			throw error;
		},
	);
	return `${ino}\0${size}\0${mtimeNs}`;
}

/**
 * A digest of cn=config, by content, so that it is the same on both hosts; and of the files of
 * databases without transaction ids (hdb), by size and time.
 */
export async function digestFiles(
	root: string,
	databases: readonly LdapDatabase[],
): Promise<string> {
	const hash = createHash("sha256");
	for (const path of (await listOwn(root, databases)).files) {
		const inConfig = path.startsWith("config/");
		if (!inConfig) {
			hash.update(`${path}\0${await stateOf(join(root, path))}\0`);
			continue;
		}
		const bytes = await readFile(join(root, path));
		hash.update(`${path.slice("config/".length)}\0${bytes.length}\0`).update(bytes);
	}
	return hash.digest("hex");
}

/** {@link digestFiles}, again where slapd replaces a file in just that moment. */
export async function steadyDigest(
	root: string,
	databases: readonly LdapDatabase[],
): Promise<string> {
	for (let attempt = 1; ; attempt++) {
		try {
			return await digestFiles(root, databases);
		} catch (error) {
			if (!hasCode(error, "ENOENT") || attempt === 5) throw error;
		}
	}
}

/** The environments below a directory, by their place. */
export async function readEnvironments(
	root: string,
	places: readonly string[],
): Promise<Map<string, Environment>> {
	const found = new Map<string, Environment>();
	for (const place of places) found.set(place, await readEnvironment(join(root, place)));
	return found;
}

/** The mark of what was read. */
export function markOf(environments: ReadonlyMap<string, Environment>, files: string): LdapMark {
	const transactionIds: Record<string, number> = {};
	const sources: Record<string, string> = {};
	for (const [place, { transactionId, source }] of environments) {
		transactionIds[place] = transactionId;
		sources[place] = source;
	}
	return { transactionIds, sources, files };
}
