import { stat } from "node:fs/promises";
import { dirname } from "node:path";
import type { Refusal } from "../errors.ts";
import { judgeRoom, mebibytes, type Room } from "../formats/guards.ts";
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

/** How long a look at the free space counts, and how much of what it found may be used on it. */
const lookCountsMs = 1000;
const lookShare = 0.5;

/** Bytes that nothing which is received may take: a tenth of disk_floor. */
const hardFloor = ({ settings }: Config): number => settings.disk_floor / 10;

/** Of a file system that has so few bytes left, the error of a full disk. */
export async function lackBelowFloor(
	config: Config,
	directory: string,
): Promise<Error | undefined> {
	const free = await freeBytes(directory);
	const floor = hardFloor(config);
	if (free >= floor) return undefined;
	const error = new Error(
		`ENOSPC: ${directory}: ${mebibytes(free)} MiB are free, and ${mebibytes(floor)} MiB stay free (a tenth of disk_floor)`,
	);
	return Object.assign(error, { code: "ENOSPC" });
}

/**
 * Below a tenth of disk_floor nothing more is received: the database and LDAP of a mirror, which often
 * share the file system with redolog/, could not work there any more, and a standby that has the last
 * mail and cannot start is none.
 */
export class ReceivingFloor {
	readonly #config: Config;
	#allowedBytes = 0;
	#lookedAt = Number.NEGATIVE_INFINITY;

	constructor(config: Config) {
		this.#config = config;
	}

	/** Throws, as for a full disk, where so many bytes more would leave less than must stay. */
	async demand(bytes: number): Promise<void> {
		const { zimbra } = this.#config;
		const floor = hardFloor(this.#config);
		if (floor === 0) return;
		const now = performance.now();
		if (bytes > this.#allowedBytes || now - this.#lookedAt > lookCountsMs) {
			const free = await freeBytes(zimbra.redolog);
			if (free - bytes < floor) {
				const error = new Error(
					`ENOSPC: ${mebibytes(free)} MiB are free, and ${mebibytes(floor)} MiB stay free for the database and LDAP of this mirror (a tenth of disk_floor), so nothing more is received: write '${zimbra.currentLog}'`,
				);
				throw Object.assign(error, { code: "ENOSPC" });
			}
			this.#allowedBytes = Math.max(bytes, (free - floor) * lookShare);
			this.#lookedAt = now;
		}
		this.#allowedBytes -= bytes;
	}
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
