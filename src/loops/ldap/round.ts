import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { LdapSnapshot } from "../../formats/state.ts";
import type { Config } from "../../services/config.ts";
import { removeDurably } from "../../services/files.ts";
import { demandHarmlessCopy } from "../../services/ldap/copied-tree.ts";
import {
	digestFiles,
	environmentsOf,
	readDatabases,
	readEnvironments,
} from "../../services/ldap/directory.ts";
import { findPlaces, markerName } from "../../services/ldap/places.ts";
import type { Logger } from "../../services/log/logger.ts";
import type { LdapStatus } from "./ldap-status.ts";
import type { Passwords } from "./passwords.ts";
import { type CheckedCopy, type CopyParts, prepareCopy } from "./prepare-copy.ts";
import { stillMirror } from "./still-mirror.ts";
import { readMarker, swapIn, takeSwapLock } from "./swap.ts";

export type RoundParts = CopyParts & {
	/** drops a copy that is whole: neither the end of the link does, nor the wish to stop */
	readonly untilUsed: AbortSignal;
	readonly status: LdapStatus;
	readonly passwords: Passwords;
};

/**
 * One round: fetches a copy of the live directory, checks it, and puts it in use. The mirror's LDAP
 * serves from the copy before until the very end, and again where anything goes wrong. Returns how
 * many ms it worked; waiting for a replay run costs nobody anything.
 * @param onWhole from here on the copy needs nothing of the live server, and is used though that dies
 */
export async function runRound(parts: RoundParts, onWhole: () => void): Promise<number> {
	const { status } = parts;
	const began = performance.now();
	await mayBeUsed(parts);
	const { copy, places, transfer } = await prepareCopy(parts, (phase) => status.setPhase(phase));
	status.setStaged(copy);
	onWhole();
	const waitedMs = await putInUse({ ...parts, places, copy }).catch(async (error: unknown) => {
		// Only what was interrupted is taken up again, by useWaiting.
		if (!parts.untilUsed.aborted) await removeDurably(join(places.next, markerName));
		throw error;
	});
	const tookMs = Math.round(performance.now() - began);
	status.roundDone(copy, { endedAt: Date.now(), tookMs, ...transfer });
	return tookMs - waitedMs;
}

/** Waits for a replay run, and exchanges the copies. Returns how long it waited, in ms. */
async function putInUse(parts: RoundParts & Pick<CheckedCopy, "copy" | "places">): Promise<number> {
	const { config, copy, log, places, status, untilUsed } = parts;
	status.setPhase("waiting");
	const waitsSince = performance.now();
	await using lock = await takeSwapLock(config, log, untilUsed, "ldap swap");
	const waitedMs = performance.now() - waitsSince;
	await mayBeUsed(parts);
	untilUsed.throwIfAborted();
	status.setPhase("swapping");
	await swapIn({ config, log, places }, copy, lock);
	return waitedMs;
}

/**
 * Puts a copy in use that waits whole and checked in `next`: the loop that fetched it was killed, or this
 * server lost its power, and the live one may be dead by now. Only over an older copy that nobody has
 * written to: a server that was live meanwhile has a directory of its own.
 */
export async function useWaiting(config: Config, log: Logger, signal: AbortSignal): Promise<void> {
	// What is wrong with data/ldap itself was said by the repair of an exchange.
	const places = await findPlaces(config).catch(() => undefined);
	if (places === undefined) return;
	const copy = await readMarker(places.next);
	const used = await readMarker(places.current);
	if (copy === undefined || used === undefined || copy.takenAt <= used.takenAt) return;
	if ((await wasWritten(config, used)) !== false) return;
	await stillMirror(config);
	await using lock = await takeSwapLock(config, log, signal, "ldap swap");
	await stillMirror(config);
	if ((await wasWritten(config, used)) !== false) return;
	// Its marker may be from a version that asked less.
	await demandHarmlessCopy(config, places.next).catch(async (error: unknown) => {
		await rm(places.next, { recursive: true, force: true });
		throw error;
	});
	await swapIn({ config, log, places }, copy, lock);
	log.info({ copy: copy.id }, "an LDAP copy that was fetched before is in use");
}

/** Asked before anything is fetched, too: the work would be for nothing. */
async function mayBeUsed({ config, passwords }: RoundParts): Promise<void> {
	await stillMirror(config);
	await passwords.demandSame();
}

/**
 * Whether the directory in use was written to here since it was a copy; undefined where its databases
 * (hdb) do not tell.
 */
export async function wasWritten(config: Config, copy: LdapSnapshot): Promise<boolean | undefined> {
	const { home, ldap } = config.zimbra;
	try {
		const databases = await readDatabases(ldap, ldap, home);
		const places = environmentsOf(databases);
		for (const [place, { transactionId }] of await readEnvironments(ldap, places)) {
			if (transactionId !== copy.transactionIds[place]) return true;
		}
		// Files of hdb are told by their times, which are another host's.
		if (places.length < databases.length) return undefined;
		return (await digestFiles(ldap, databases)) !== copy.files;
	} catch {
		return true;
	}
}
