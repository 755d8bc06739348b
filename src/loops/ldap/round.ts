import type { LdapSnapshot } from "../../formats/state.ts";
import type { Config } from "../../services/config.ts";
import {
	digestFiles,
	environmentsOf,
	readDatabases,
	readEnvironments,
} from "../../services/ldap/directory.ts";
import type { LdapStatus } from "./ldap-status.ts";
import type { Passwords } from "./passwords.ts";
import { type CopyParts, prepareCopy } from "./prepare-copy.ts";
import { stillMirror } from "./still-mirror.ts";
import { swapIn, takeSwapLock } from "./swap.ts";

export type RoundParts = CopyParts & {
	readonly status: LdapStatus;
	readonly passwords: Passwords;
};

/**
 * One round: fetches a copy of the live directory, checks it, and puts it in use. The mirror's LDAP
 * serves from the copy before until the very end, and again where anything goes wrong. Returns how
 * many ms it worked; waiting for a replay run costs nobody anything.
 */
export async function runRound(parts: RoundParts): Promise<number> {
	const { config, log, status, signal } = parts;
	const began = performance.now();
	await mayBeUsed(parts);
	const { copy, places, transfer } = await prepareCopy(parts, (phase) => status.setPhase(phase));
	status.setStaged(copy);

	status.setPhase("waiting");
	const waitsSince = performance.now();
	await using lock = await takeSwapLock(config, log, signal, "ldap swap");
	const waitedMs = performance.now() - waitsSince;
	await mayBeUsed(parts);
	signal.throwIfAborted();
	status.setPhase("swapping");
	await swapIn({ config, log, places }, copy, lock);
	const tookMs = Math.round(performance.now() - began);
	status.roundDone(copy, { endedAt: Date.now(), tookMs, ...transfer });
	return tookMs - waitedMs;
}

/** Asked before anything is fetched, too: the work would be for nothing. */
async function mayBeUsed({ config, passwords }: RoundParts): Promise<void> {
	await stillMirror(config);
	await passwords.demandSame();
}

/** Whether the directory in use is still the copy that it was, and not written to here. */
export async function isUntouched(config: Config, copy: LdapSnapshot): Promise<boolean> {
	const { home, ldap } = config.zimbra;
	try {
		const databases = await readDatabases(ldap, ldap, home);
		const places = environmentsOf(databases);
		for (const [place, { transactionId }] of await readEnvironments(ldap, places)) {
			if (transactionId !== copy.transactionIds[place]) return false;
		}
		// Files of hdb are told by their times, which are another host's.
		if (places.length < databases.length) return true;
		return (await digestFiles(ldap, databases)) === copy.files;
	} catch {
		return false;
	}
}
