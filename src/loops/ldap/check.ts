import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { parseDatabase, withDirectory } from "../../formats/ldap/config-ldif.ts";
import { EntryCounter } from "../../formats/ldap/count-entries.ts";
import type { LdapMark } from "../../formats/ldap/mark.ts";
import type { SnapshotFile } from "../../formats/ldap/wire.ts";
import { demandHarmlessCopy } from "../../services/ldap/copied-tree.ts";
import { describeContents } from "../../services/ldap/copies.ts";
import {
	environmentsOf,
	type LdapDatabase,
	listTree,
	readEnvironments,
} from "../../services/ldap/directory.ts";
import type { PeerConfig } from "../../services/peer-config.ts";
import { describeResult, type Run, type RunResult } from "../../services/run.ts";

/** What the live server says about the copy. */
export type Expected = Pick<LdapMark, "transactionIds"> & {
	/** of each environment; undefined where only the files were copied and nobody counted */
	readonly entries?: Readonly<Record<string, number>> | undefined;
	readonly contents?: readonly SnapshotFile[] | undefined;
};

export type CheckOptions = {
	readonly config: PeerConfig;
	readonly run: Run;
	readonly signal: AbortSignal;
	/** the copy, opened by nobody else */
	readonly copy: string;
	/** a directory for the configuration that slapcat reads the copy with */
	readonly scratch: string;
};

/**
 * Reads a whole copy before slapd may: every page of each environment, every entry by slapcat, their
 * number, and each file against its digest. Broken copies have passed any one of these
 * (mdb_stat said nothing, slapcat exited 0 with 156 entries of 20,002), and some killed the tool that
 * read them, so all of it is done, in processes of their own.
 * Returns the number of entries, undefined where nobody could count them; throws an Error that names
 * what is wrong.
 *
 * hdb is left out: DB_CONFIG names the logs that are in use, by absolute path, and a slapcat of the
 * copy would recover into them. There slapd's own start is the check.
 */
export async function checkCopy(
	options: CheckOptions,
	expected: Expected,
): Promise<number | undefined> {
	const { config, copy, scratch } = options;
	const all = await demandHarmlessCopy(config, copy);
	const databases = all.filter(({ backend }) => backend === "mdb");
	const places = environmentsOf(databases);
	for (const place of Object.keys(expected.transactionIds)) {
		if (!places.includes(place)) throw bad(copy, `cn=config does not name ${place}`);
	}
	await writeCheckConfig(copy, scratch, databases);
	let counts: number[];
	try {
		counts = await together([
			...places.map((place) => dump(options, place).then(() => 0)),
			...databases.map((database) => count(options, database, expected)),
		]);
	} finally {
		await rm(scratch, { recursive: true, force: true });
		// The tools make them, and a lock file names processes of another host or time.
		for (const place of places) await rm(join(copy, place, "lock.mdb"), { force: true });
	}
	// Last, so that it also tells whether reading has changed anything.
	await compare(options, places, expected);
	return all.length > databases.length ? undefined : counts.reduce((sum, each) => sum + each, 0);
}

async function compare(
	{ copy }: CheckOptions,
	places: readonly string[],
	{ contents, transactionIds }: Expected,
): Promise<void> {
	for (const [place, { transactionId }] of await readEnvironments(copy, places)) {
		if (transactionId === transactionIds[place]) continue;
		throw bad(
			copy,
			`${place} is at transaction ${transactionId}, the live server said ${transactionIds[place]}`,
		);
	}
	if (contents === undefined) return;
	const found = new Map((await describeContents(copy)).map((file) => [file.path, file]));
	for (const { path, size, sha256 } of contents) {
		// Before 2.1 the live server names all that lies in its data/ldap, `cn=config.ldif.old` too.
		if (!isOwn(path, places)) continue;
		const here = found.get(path);
		found.delete(path);
		if (here === undefined) throw bad(copy, `${path} is missing`);
		if (here.size !== size) throw bad(copy, `${path} has ${here.size} bytes of ${size}`);
		if (here.sha256 !== sha256) throw bad(copy, `${path} is not the file of the live server`);
	}
	const [more] = found.keys();
	if (more !== undefined) throw bad(copy, `${more} is not in the snapshot`);
}

const isOwn = (path: string, places: readonly string[]): boolean =>
	(path.startsWith("config/") && path.endsWith(".ldif")) ||
	places.some((place) => path === `${place}/data.mdb`);

/** Visits every page that is in use. */
async function dump(options: CheckOptions, place: string): Promise<void> {
	const { config, copy, run, signal } = options;
	const command = ["mdb_dump", "-a", "-f", "/dev/null", join(copy, place)];
	const timeoutMs = config.settings.ldap_check_timeout;
	demand(options, command, await run(command, { timeoutMs, signal }));
}

/** Has slapd's own code read every entry, and counts them. */
async function count(
	options: CheckOptions,
	{ number, place }: LdapDatabase,
	{ entries }: Expected,
): Promise<number> {
	const { config, copy, run, scratch, signal } = options;
	const command = ["slapcat", "-F", scratch, "-n", String(number)];
	const counter = new EntryCounter();
	const result = await run(command, {
		timeoutMs: config.settings.ldap_check_timeout,
		signal,
		cwd: config.zimbra.home,
		onStdout: (text) => counter.take(text),
	});
	demand(options, command, { ...result, stdout: "" });
	const found = counter.entries;
	const wanted = entries?.[place];
	if (wanted !== undefined && found !== wanted) {
		throw bad(copy, `slapcat reads ${found} entries of ${place}, the live server has ${wanted}`);
	}
	if (wanted === undefined && found === 0) throw bad(copy, `${place} has no entry`);
	return found;
}

/** The copy's cn=config, but with the copy's databases: as it stands it names those in use. */
async function writeCheckConfig(
	copy: string,
	scratch: string,
	databases: readonly LdapDatabase[],
): Promise<void> {
	await rm(scratch, { recursive: true, force: true });
	const from = join(copy, "config");
	for (const path of (await listTree(from)).files) {
		if (!path.endsWith(".ldif")) continue;
		const text = await readFile(join(from, path), "utf8");
		const parsed = parseDatabase(basename(path), text);
		const database = databases.find(({ number }) => number === parsed?.number);
		const changed = database === undefined ? text : withDirectory(text, join(copy, database.place));
		await mkdir(dirname(join(scratch, path)), { recursive: true, mode: 0o700 });
		await writeFile(join(scratch, path), changed, { mode: 0o600 });
	}
}

/** Waits for all, then throws the first failure: nothing may run on when the copy is removed. */
async function together(work: readonly Promise<number>[]): Promise<number[]> {
	const settled = await Promise.allSettled(work);
	return settled.map((each) => {
		if (each.status === "rejected") throw each.reason;
		return each.value;
	});
}

function demand({ copy, signal }: CheckOptions, command: string[], result: RunResult): void {
	signal.throwIfAborted();
	if (result.exitCode === 0) return;
	if (result.exitCode === undefined && result.signal === undefined) {
		throw new Error(`${command[0]} cannot be started, so no LDAP copy can be checked: install it`);
	}
	throw bad(copy, describeResult(command, result));
}

/** The copy will not do; it is made anew. */
class BadCopy extends Error {
	override readonly name = "BadCopy";
}

const bad = (copy: string, what: string): BadCopy =>
	new BadCopy(`the LDAP copy in ${copy} is not used: ${what}`);
