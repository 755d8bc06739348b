import { randomUUID } from "node:crypto";
import { chmod, chown, copyFile, mkdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { uptime } from "node:os";
import { join } from "node:path";
import { hasCode } from "../../errors.ts";
import type { SnapshotAnswer } from "../../formats/ldap/wire.ts";
import type { Config } from "../../services/config.ts";
import { isThere, makeDirectory, readIfThere } from "../../services/files.ts";
import { checkRoom, describeContents } from "../../services/ldap/copies.ts";
import {
	environmentsOf,
	type LdapDatabase,
	listOwn,
	listTree,
	markOf,
	readDatabases,
	readEnvironments,
	steadyDigest,
} from "../../services/ldap/directory.ts";
import {
	copySize,
	countEntries,
	type Environment,
	readEnvironment,
} from "../../services/ldap/lmdb.ts";
import { takeLock } from "../../services/lock.ts";
import type { Logger } from "../../services/log/logger.ts";
import type { BasePaths } from "../../services/paths.ts";
import { isAlive, type ProcessIdentity } from "../../services/processes.ts";
import { describeResult, makeRun, type Run } from "../../services/run.ts";
import { endOrphans, recorded } from "../../services/run-under-lock.ts";
import { zimbraVersion } from "../../services/zimbra/version.ts";
import { readCoverage } from "./coverage.ts";
import { snapshotPlaces } from "./places.ts";

export type LdapSource = {
	readonly config: Config;
	/** of this server's history, for the coverage */
	readonly timeline: number;
	/** names of the watch or connection for which it works; what it asked for is of no use to another one */
	readonly owners: readonly [string, ...string[]];
	readonly log: Logger;
	readonly signal: AbortSignal;
};

/** How often cn=config may change under a snapshot before it is given up. */
const maxAttempts = 5;

/**
 * Makes a consistent copy of data/ldap in our own directory: each environment as mdb_copy sees it in
 * one read transaction, cn=config of the same generation, nothing that belongs to a run of slapd.
 * It replaces the one before; what a snapshot that failed has left is removed.
 */
export async function takeSnapshot(source: LdapSource): Promise<SnapshotAnswer> {
	const { config, log, signal } = source;
	const places = snapshotPlaces(config.base);
	await makeDirectory(config.base.ldap);
	await using lock = await takeLock(places.lock, {
		purpose: "ldap snapshot",
		signal,
		log,
		timeoutMs: config.settings.ldap_copy_timeout,
		// An mdb_copy that hangs keeps its reader, and nobody waits for it any more.
		onOrphans: () => endOrphans(places.lock),
	});
	const run = recorded(makeRun(config.settings), lock);
	const databases = await readDatabases(config.zimbra.ldap, config.zimbra.ldap, config.zimbra.home);
	if (await isThere(places.making)) {
		// Whoever made it was killed, and its mdb_copy perhaps with it.
		await clearReaders(run, source, environmentsOf(databases));
	}
	await removeAll(places.making, places.old);
	try {
		const answer = await make(run, source, databases, places.making);
		await writeFile(places.owner, source.owners[0]);
		if (await isThere(places.current)) await rename(places.current, places.old);
		await rename(places.making, places.current);
		return { ...answer, directory: places.current };
	} finally {
		await removeAll(places.making, places.old);
	}
}

/** A watch is the process that serves it: whether it lives, anybody can tell. */
export const watchName = ({ pid, startTime, bootId }: ProcessIdentity): string =>
	`${pid}.${startTime}.${bootId}`;

/** Whether the watch of that name has ended; undefined for another name. */
function hasEnded(name: string): boolean | undefined {
	const [, pid, startTime, bootId = ""] = /^(\d+)\.(\d+)\.([\w-]+)$/.exec(name) ?? [];
	if (pid === undefined) return undefined;
	return !isAlive({ pid: Number(pid), startTime: Number(startTime), bootId });
}

/** Removes the snapshot that was asked for by one of these owners; another one is wanted by somebody else. */
export const removeSnapshot = (source: LdapSource): Promise<void> =>
	removeIf(source, (owner) => source.owners.includes(owner));

/**
 * Removes what nobody waits for any more: the snapshot of a watch that has ended without a word, and what
 * a power loss has left of any other.
 */
export async function removeStale(source: LdapSource): Promise<void> {
	const bootedAt = Date.now() - uptime() * 1000;
	await removeIf(source, (owner, madeAt) => hasEnded(owner) ?? madeAt < bootedAt);
}

async function removeIf(
	{ config, log }: LdapSource,
	isUnwanted: (owner: string, madeAt: number) => boolean,
): Promise<void> {
	const places = snapshotPlaces(config.base);
	const unwanted = async () => {
		const made = await stat(places.current).catch(() => undefined);
		if (made === undefined) return false;
		return isUnwanted((await readIfThere(places.owner)) ?? "", made.ctimeMs);
	};
	if (!(await unwanted())) return;
	await using _lock = await takeLock(places.lock, {
		purpose: "ldap snapshot removal",
		signal: AbortSignal.timeout(1000),
		log,
	});
	if (await unwanted()) await removeAll(places.current, places.owner);
}

/** Removes all of them: this server follows another one, and nobody follows it. */
export async function clearSnapshots(base: BasePaths): Promise<void> {
	const { current, owner, making, old } = snapshotPlaces(base);
	await removeAll(current, owner, making, old);
}

async function make(
	run: Run,
	source: LdapSource,
	databases: readonly LdapDatabase[],
	target: string,
): Promise<Omit<SnapshotAnswer, "directory">> {
	const { config, signal } = source;
	const root = config.zimbra.ldap;
	const environments = environmentsOf(databases);
	// In this order: a change that an operation before this position needed is in the copy.
	const { coverage, clock } = await readCoverage(config.zimbra, source.timeline);
	const before = await readEnvironments(root, environments);
	let size = [...before.values()].reduce((sum, each) => sum + copySize(each), 0);
	const own = await listOwn(root, databases);
	for (const path of own.files) size += (await sizeOf(join(root, path))) ?? 0;
	await checkRoom(config.base.ldap, size, config.settings.disk_floor);

	await copyDirectories(root, own.directories, target);
	const files = await copyFiles(source, databases, target, async () => {
		for (const place of environments) await copyEnvironment(run, source, place, target);
	});

	const copies = new Map<string, Environment>();
	const entries: Record<string, number> = {};
	for (const [place, { source: file }] of before) {
		const copy = join(target, place);
		const now = await readEnvironment(join(root, place));
		if (now.source !== file) {
			throw new Error(`${join(root, place)}/data.mdb was replaced while it was copied`);
		}
		copies.set(place, { ...(await readEnvironment(copy)), source: file });
		entries[place] = await countEntries(run, copy, {
			timeoutMs: config.settings.command_timeout,
			signal,
		});
		// Reading has made one.
		await rm(join(copy, "lock.mdb"), { force: true });
	}
	return {
		...markOf(copies, files),
		id: randomUUID(),
		coverage,
		takenAt: clock,
		// Read last: an upgrade exchanges the programs first, then what is in LDAP.
		zimbra: await zimbraVersion(config),
		entries,
		contents: await describeContents(target),
	};
}

/** Empty directories with the modes of those of data/ldap; one of them may be a link, to another disk. */
async function copyDirectories(
	root: string,
	directories: readonly string[],
	target: string,
): Promise<void> {
	await mkdir(target, { mode: 0o700 });
	for (const path of directories) {
		await mkdir(join(target, path), { recursive: true });
		await copyRights(await stat(join(root, path)), join(target, path));
	}
	await copyRights(await stat(root), target);
}

/**
 * Copies cn=config, then the data, and begins again where cn=config was
 * changed meanwhile: an index that one of them has and the other has not makes searches lie.
 */
async function copyFiles(
	{ config, signal }: LdapSource,
	databases: readonly LdapDatabase[],
	target: string,
	copyData: () => Promise<void>,
): Promise<string> {
	const root = config.zimbra.ldap;
	for (let attempt = 1; attempt <= maxAttempts; attempt++) {
		signal.throwIfAborted();
		const digest = await steadyDigest(root, databases);
		const { files } = await listOwn(root, databases);
		for (const path of (await listTree(target)).files) await rm(join(target, path));
		try {
			for (const path of files) {
				await copyFile(join(root, path), join(target, path));
				await copyRights(await stat(join(root, path)), join(target, path));
			}
		} catch (error) {
			if (hasCode(error, "ENOENT")) continue; // it was replaced in that moment
			throw error;
		}
		await copyData();
		const copied = await steadyDigest(target, databases);
		if (copied === digest && (await steadyDigest(root, databases)) === digest) return digest;
	}
	throw new Error(`${root}/config changed ${maxAttempts} times while it was copied`);
}

async function copyEnvironment(
	run: Run,
	source: LdapSource,
	place: string,
	target: string,
): Promise<void> {
	const { config, signal } = source;
	const from = join(config.zimbra.ldap, place);
	const to = join(target, place);
	await rm(join(to, "data.mdb"), { force: true });
	// Not compact: pages stay where they are, so that the next copy differs in few blocks.
	const command = ["mdb_copy", from, to];
	const result = await run(command, { timeoutMs: config.settings.ldap_copy_timeout, signal });
	if (result.exitCode !== 0) {
		await clearReaders(run, source, [place]);
		signal.throwIfAborted();
		throw new Error(`${describeResult(command, result)}; no snapshot of ${from}`);
	}
	await copyRights(await readEnvironment(from), join(to, "data.mdb"));
}

/**
 * A copy that was killed leaves its reader in slapd's table, and from then on no page is used again:
 * the live database would only grow. LMDB looks for dead readers when it is asked to.
 */
async function clearReaders(
	run: Run,
	{ config, log }: LdapSource,
	places: readonly string[],
): Promise<void> {
	for (const place of places) {
		const command = ["mdb_stat", "-rr", join(config.zimbra.ldap, place)];
		const result = await run(command, { timeoutMs: config.settings.command_timeout });
		if (result.exitCode === 0) log.info({ environment: place }, "stale readers cleared");
		else log.warn({ environment: place }, describeResult(command, result));
	}
}

async function copyRights(
	rights: { readonly mode: number; readonly uid: number; readonly gid: number },
	path: string,
): Promise<void> {
	if (process.getuid?.() === 0) await chown(path, rights.uid, rights.gid);
	await chmod(path, rights.mode & 0o7777);
}

const sizeOf = async (path: string): Promise<number | undefined> =>
	(await stat(path).catch(() => undefined))?.size;

async function removeAll(...paths: string[]): Promise<void> {
	for (const path of paths) await rm(path, { recursive: true, force: true });
}
