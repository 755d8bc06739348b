import { stat } from "node:fs/promises";
import { dirname } from "node:path";
import type { Refusal } from "../errors.ts";
import { judgeRoom, type Room } from "../formats/guards.ts";
import type { Config } from "./config.ts";
import { freeBytes, isThere } from "./files.ts";
import { roomForCopy } from "./ldap/copies.ts";
import { environmentsOf, readDatabases, readEnvironments } from "./ldap/directory.ts";
import { copySize } from "./ldap/lmdb.ts";
import { findPlaces } from "./ldap/places.ts";

/** What is said of the first file system that a mirror writes to and that is all but full. */
export async function lackOfRoom(config: Config): Promise<Refusal | undefined> {
	const { base, settings, zimbra } = config;
	const rooms = [await lookAt(zimbra.redolog), await lookAt(base.base), await ldapRoom(config)];
	return judgeRoom(
		rooms.filter((room) => room !== undefined),
		settings.disk_floor,
	);
}

async function lookAt(directory: string): Promise<Room> {
	// Before the initial copy it is not there yet.
	if (!(await isThere(directory))) return await lookAt(dirname(directory));
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
