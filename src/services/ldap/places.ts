import { lstat, readdir, readlink, rm, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { hasCode } from "../../errors.ts";
import type { Generation } from "../../formats/ldap/swap-plan.ts";
import type { Config } from "../config.ts";
import { isThere, makeDirectory, renameDurably } from "../files.ts";

/** Where the mirror keeps its copies; all on the file system of data/ldap, to be renamed into place. */
export type LdapPlaces = Readonly<Record<Generation, string>> & {
	/** as it came from the live server; never opened by slapd, the basis of the next transfer */
	readonly staging: string;
	/** cn=config of a copy, with directories that point into the copy */
	readonly check: string;
	readonly journal: string;
};

/** Tells in a copy of ours which one it is; in `next` also that the copy is whole, checked and durable. */
export const markerName = ".live_sync.json";

/** Throws where data/ldap cannot be renamed, a mount point, or would take another file system along. */
export async function findPlaces(config: Config): Promise<LdapPlaces> {
	const current = await behindLink(config.zimbra.ldap);
	await makeDirectory(config.base.ldap);
	const { dev } = await stat(dirname(current));
	const mounted = await stat(current).catch(() => undefined);
	if (mounted !== undefined && mounted.dev !== dev) {
		throw new Error(
			`${current} is a mount point, and LDAP copies are put in use by renaming that directory; mount the file system one level higher, or make ${config.zimbra.ldap} a link to a directory below the mount point`,
		);
	}
	const inside = mounted === undefined ? undefined : await mountedBelow(current, dev);
	if (inside !== undefined) {
		throw new Error(
			`${inside} is a mount point, and LDAP copies are put in use by renaming ${current}, which would take it along; mount the file system above ${current}, or make ${config.zimbra.ldap} a link to a directory on it`,
		);
	}
	const near = (await stat(config.base.ldap)).dev === dev;
	const area = near ? config.base.ldap : areaBeside(current);
	await makeDirectory(area);
	return placesIn(area, current);
}

const placesIn = (area: string, current: string): LdapPlaces => ({
	current,
	next: join(area, "next"),
	previous: join(area, "previous"),
	discarded: join(area, "discarded"),
	refused: join(area, "refused"),
	staging: join(area, "staging"),
	check: checkDirectory(area),
	journal: join(area, "swap.json"),
});

/** A directory of another file system in there; a link to one is no harm. */
async function mountedBelow(directory: string, dev: number): Promise<string | undefined> {
	for (const entry of await readdir(directory, { withFileTypes: true }).catch(notAllowed)) {
		if (!entry.isDirectory()) continue;
		const path = join(directory, entry.name);
		const found = await lstat(path).catch(() => undefined);
		if (found !== undefined && found.dev !== dev) return path;
		const inside = await mountedBelow(path, dev);
		if (inside !== undefined) return inside;
	}
	return undefined;
}

/** A directory that our user may not read, of root or of a file system, is not LDAP's. */
function notAllowed(error: unknown): [] {
	if (hasCode(error, "EACCES", "ENOENT")) return [];
	throw error;
}

const areaBeside = (current: string): string => join(dirname(current), ".live_sync_ldap");
const checkDirectory = (area: string): string => join(area, "check");

/** Where {@link LdapPlaces.check} is, or would be if data/ldap moved to another file system. */
export async function possibleCheckDirectories(config: Config): Promise<string[]> {
	const current = await behindLink(config.zimbra.ldap);
	return [config.base.ldap, areaBeside(current), trialArea(config)].map(checkDirectory);
}

/** Places for a copy that is only to be looked at: none is ever put in use from there. */
export const trialPlaces = (config: Config): LdapPlaces =>
	placesIn(trialArea(config), config.zimbra.ldap);

export const trialArea = ({ base }: Config): string => join(base.ldap, "trial");

/** data/ldap may be a link to a larger disk: then its target is what is exchanged. */
async function behindLink(path: string): Promise<string> {
	let target = path;
	// It may not be there, between two renames; and links lead to links. As many as the kernel follows.
	for (let links = 0; links < 40; links++) {
		const found = await lstat(target).catch(() => undefined);
		if (found?.isSymbolicLink() !== true) return target;
		target = resolve(dirname(target), await readlink(target));
	}
	throw new Error(`${path} is a link that leads nowhere`);
}

const generations = ["current", "next", "previous", "discarded", "refused"] as const;

export async function presentGenerations(places: LdapPlaces): Promise<Set<Generation>> {
	const present = new Set<Generation>();
	for (const name of generations) {
		if ((await isThere(places[name])) && !(await isShell(places[name]))) present.add(name);
	}
	return present;
}

/** Renames one generation durably; a shell in its way is removed. */
export async function renameGeneration(from: string, to: string): Promise<void> {
	for (let attempt = 1; ; attempt++) {
		if (await isShell(to)) await rm(to, { recursive: true, force: true });
		try {
			return await renameDurably(from, to);
		} catch (error) {
			if (!hasCode(error, "ENOTEMPTY", "EEXIST") || attempt === 5 || !(await isShell(to)))
				throw error;
		}
	}
}

/**
 * Directories without a file, but for what a run of slapd leaves: no generation. Zimbra's `ldap` makes
 * data/ldap/state/run at each call, `status` too, so data/ldap comes back while it is renamed away.
 * Source: zm-core-utils, src/bin/ldap.production.
 */
async function isShell(path: string): Promise<boolean> {
	try {
		for (const entry of await readdir(path, { withFileTypes: true })) {
			if (entry.name === "state" && entry.isDirectory()) continue;
			if (!entry.isDirectory() || !(await hasNoFile(join(path, entry.name)))) return false;
		}
		return true;
	} catch (error) {
		if (hasCode(error, "ENOENT")) return false;
		throw error;
	}
}

/** What cannot be read counts as a file. */
async function hasNoFile(path: string): Promise<boolean> {
	const entries = await readdir(path, { withFileTypes: true }).catch(() => undefined);
	if (entries === undefined) return false;
	for (const entry of entries) {
		if (!entry.isDirectory() || !(await hasNoFile(join(path, entry.name)))) return false;
	}
	return true;
}
