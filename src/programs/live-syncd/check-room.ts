import { stat } from "node:fs/promises";
import { dirname } from "node:path";
import { judgeRoom, type Room } from "../../formats/guards.ts";
import type { Config } from "../../services/config.ts";
import { freeBytes } from "../../services/files.ts";
import { roomForCopy } from "../../services/ldap/copies.ts";
import { environmentsOf, readDatabases, readEnvironments } from "../../services/ldap/directory.ts";
import { copySize } from "../../services/ldap/lmdb.ts";
import { findPlaces } from "../../services/ldap/places.ts";

/** Throws a Refusal where a file system that a mirror writes to is all but full. */
export async function checkRoom(config: Config): Promise<void> {
	const { base, settings, zimbra } = config;
	const rooms = [await lookAt(zimbra.redolog), await lookAt(base.base), await ldapRoom(config)];
	const refusal = judgeRoom(
		rooms.filter((room) => room !== undefined),
		settings.disk_floor,
	);
	if (refusal !== undefined) throw refusal;
}

async function lookAt(directory: string): Promise<Room> {
	const { dev } = await stat(directory);
	return { directory, fileSystem: dev, freeBytes: await freeBytes(directory), neededBytes: 0 };
}

/**
 * What the first copy of the live directory will take. The one here tells its size: it came with the
 * initial copy. Undefined where nobody can tell; the LDAP loop looks again before each copy.
 */
async function ldapRoom(config: Config): Promise<Room | undefined> {
	const { home, ldap } = config.zimbra;
	try {
		const { staging } = await findPlaces(config);
		const databases = await readDatabases(ldap, ldap, home);
		const environments = await readEnvironments(ldap, environmentsOf(databases));
		const size = [...environments.values()].reduce((sum, each) => sum + copySize(each), 0);
		return { ...(await lookAt(dirname(staging))), neededBytes: await roomForCopy(size, staging) };
	} catch {
		return undefined;
	}
}
