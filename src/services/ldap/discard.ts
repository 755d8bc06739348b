import { readdir, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { hasCode } from "../../errors.ts";
import type { Config } from "../config.ts";
import { isThere } from "../files.ts";
import type { Logger } from "../log/logger.ts";
import { areaOf, readDatabases } from "./directory.ts";
import type { LdapPlaces } from "./places.ts";

/**
 * Removes the generation that is not needed any more. What lay in data/ldap beside cn=config and its
 * databases, the ldap.bak of an upgrade, somebody's own dump, is in no copy: it is kept in `beside`.
 */
export async function discard(config: Config, places: LdapPlaces, log: Logger): Promise<void> {
	const { discarded } = places;
	if (!(await isThere(discarded))) return;
	const { home, ldap } = config.zimbra;
	const databases = await readDatabases(discarded, ldap, home).catch(() => []);
	// cn=config goes last: it tells what the rest is, if this is cut short.
	for (const name of [...new Set(databases.map(areaOf)), "state"]) {
		await removeOwn(join(discarded, name));
	}
	for (const name of await readdir(discarded)) {
		if (name === "config" || name.startsWith(".live_sync")) await removeOwn(join(discarded, name));
	}
	const [rest] = await readdir(discarded);
	if (rest === undefined) return await rm(discarded, { recursive: true, force: true });
	let kept = join(dirname(discarded), "beside");
	for (let number = 2; await isThere(kept); number++)
		kept = join(dirname(discarded), `beside-${number}`);
	await rename(discarded, kept);
	log.warn(
		{ kept, first: rest },
		`what lay in ${ldap} beside LDAP's own files is not in the copy that is in use, and is kept`,
	);
}

/** Root's files in there are none of LDAP's, and stay. */
async function removeOwn(path: string): Promise<void> {
	await rm(path, { recursive: true, force: true }).catch((error: unknown) => {
		if (!hasCode(error, "EACCES", "EPERM", "ENOTEMPTY")) throw error;
	});
}
