import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe } from "../../errors.ts";
import {
	planInstall,
	planRepair,
	planRollback,
	type Rename,
	type SwapJournal,
} from "../../formats/ldap/swap-plan.ts";
import type { LdapSnapshot } from "../../formats/state.ts";
import type { Config } from "../../services/config.ts";
import { failPoint } from "../../services/fail-point.ts";
import { readIfThere, removeDurably, writeDurably } from "../../services/files.ts";
import { environmentsOf, readDatabases } from "../../services/ldap/directory.ts";
import { discard } from "../../services/ldap/discard.ts";
import {
	findPlaces,
	type LdapPlaces,
	markerName,
	presentGenerations,
	renameGeneration,
} from "../../services/ldap/places.ts";
import { environmentUsers } from "../../services/ldap/users.ts";
import { type HeldLock, takeLock } from "../../services/lock.ts";
import type { Logger } from "../../services/log/logger.ts";
import { justStartedMs } from "../../services/processes.ts";
import { makeRun } from "../../services/run.ts";
import { recorded } from "../../services/run-under-lock.ts";
import { readRunRecord } from "../../services/zimbra/run-record.ts";
import { ldapService, type Service, type ServiceResult } from "../../services/zimbra/service.ts";
import { livingPlayers } from "../../services/zimbra/zmplayredo.ts";
import { stillMirror } from "./still-mirror.ts";

export type SwapParts = {
	readonly config: Config;
	readonly log: Logger;
	readonly places: LdapPlaces;
};

/** slapd refused the new copy, and the one before is in use again. */
class CopyRefused extends Error {
	override readonly name = "CopyRefused";
}

type Failure = ServiceResult & { readonly ok: false };

/** A swap is never left half done for a wish to stop; what could hang has its deadline. */
const uninterrupted = new AbortController().signal;
/** How long a tool that only reads, or a slapd that is already gone, may keep its lock. */
const releaseMs = 10_000;
const playerPollMs = 1000;

/**
 * Puts the checked copy in `next` in use: LDAP stopped, directories exchanged, LDAP started, asked.
 * Call it with the lock held. Throws {@link CopyRefused} where slapd does not answer with it; then
 * the previous copy serves again. Any other error: what was in use before still is, or is put back
 * by {@link repairSwap}.
 */
export async function swapIn(
	{ config, log, places }: SwapParts,
	snapshot: LdapSnapshot,
	lock: HeldLock,
): Promise<void> {
	const ldap = ldapService({ run: recorded(makeRun(config.settings), lock), config });
	// Large files are removed now, not while LDAP is down.
	await discard(config, places, log);
	await rm(places.refused, { recursive: true, force: true });
	await writeJournal(places, { phase: "install", snapshot: snapshot.id });
	failPoint("ldap-swap:before-stop");
	try {
		await stopLdap(ldap, config, places);
	} catch (error) {
		await clearJournal(places);
		await ldap.start(uninterrupted).catch(() => undefined);
		throw error;
	}
	failPoint("ldap-swap:after-stop");
	await carryOut(planInstall(await presentGenerations(places)), places);
	failPoint("ldap-swap:before-start");
	const started = await ldap.start(uninterrupted);
	failPoint("ldap-swap:after-start");
	const failure = started.ok ? await servesFromPrevious(config, places) : started;
	if (failure !== undefined) {
		await rollBack(ldap, { config, log, places }, snapshot.id, failure);
		return;
	}
	await clearJournal(places);
	failPoint("ldap-swap:before-cleaning");
	await discard(config, places, log);
}

/**
 * Finishes or undoes a swap that was cut short by a crash, so that LDAP runs on one whole copy; does
 * nothing where there was none.
 */
export async function repairSwap(config: Config, log: Logger, signal: AbortSignal): Promise<void> {
	const places = await findPlaces(config);
	if (!(await needsRepair(places))) return;
	const lock = await takeSwapLock(config, log, signal, "ldap swap repair");
	try {
		const journal = await readJournal(places);
		const { renames, now } = planRepair(journal, await presentGenerations(places));
		log.warn(
			{ copy: journal?.snapshot, phase: journal?.phase, now, renames: renames.length },
			"an LDAP swap was cut short; it is being repaired",
		);
		const ldap = ldapService({ run: recorded(makeRun(config.settings), lock), config });
		if (renames.some(({ from }) => from === "current")) await stillMirror(config);
		if (renames.length > 0) await stopLdap(ldap, config, places);
		failPoint("ldap-repair:before-renames");
		await carryOut(renames, places);
		failPoint("ldap-repair:before-start");
		const started = await ldap.start(uninterrupted);
		if (!started.ok && now === "new") {
			await stillMirror(config);
			await rollBack(ldap, { config, log, places }, journal?.snapshot ?? "", started).catch(
				(error: unknown) => {
					if (!(error instanceof CopyRefused)) throw error;
					log.warn({ reason: describe(error) }, "the copy is not used");
				},
			);
		} else if (!started.ok) {
			// Whole it is; it may be the copy that the live server has next which mends it.
			await clearJournal(places);
			throw new Error(`${started.problem}, on the previous copy; ${started.hint}`);
		}
		await clearJournal(places);
		await discard(config, places, log);
	} finally {
		await lock.release();
	}
}

/**
 * The lock under which LDAP may be stopped: no zmplayredo runs while it is held. Also none of a redo
 * loop that was killed before it could name what it had started, whose lock counts as dead then.
 */
export async function takeSwapLock(
	config: Config,
	log: Logger,
	signal: AbortSignal,
	purpose: string,
): Promise<HeldLock> {
	for (;;) {
		const lock = await takeLock(config.base.lock, { purpose, signal, log });
		try {
			const run = await readRunRecord(config);
			// Its loop is dead, since the lock is here, and may have died while it started the run.
			if (run?.phase === "running") await sleep(justStartedMs, undefined, { signal });
			if (run === undefined || livingPlayers(run).length === 0) return lock;
		} catch (error) {
			await lock.release();
			throw error;
		}
		await lock.release();
		await sleep(playerPollMs, undefined, { signal });
	}
}

/** Somebody else may have started slapd just before the renames: then it answers from what was moved. */
async function servesFromPrevious(
	config: Config,
	places: LdapPlaces,
): Promise<Failure | undefined> {
	const moved = await environmentDirectories(config, places.previous);
	const slapd = (await environmentUsers(moved)).find(({ serves }) => serves);
	if (slapd === undefined) return undefined;
	return {
		ok: false,
		problem: `process ${slapd.pid} (${slapd.name}) serves from the copy before: it was started in the middle of the exchange`,
		hint: "find out what else starts LDAP on the mirror",
	};
}

/** Puts the previous copy back and throws {@link CopyRefused}, or says that nothing runs. */
async function rollBack(
	ldap: Service,
	{ config, log, places }: SwapParts,
	snapshot: string,
	failure: Failure,
): Promise<never> {
	log.error(
		{ copy: snapshot, reason: failure.problem },
		"LDAP does not run on the new copy, the previous one is put back",
	);
	await rm(places.refused, { recursive: true, force: true });
	await writeJournal(places, { phase: "rollback", snapshot });
	failPoint("ldap-rollback:before-stop");
	await stopLdap(ldap, config, places);
	await carryOut(planRollback(await presentGenerations(places)), places, "ldap-rollback");
	failPoint("ldap-rollback:before-start");
	const started = await ldap.start(uninterrupted);
	if (!started.ok) {
		throw new Error(`${started.problem}, on the previous copy either; ${started.hint}`);
	}
	await clearJournal(places);
	throw new CopyRefused(
		`LDAP did not run on the new copy (kept in ${places.refused}): ${failure.problem}; the previous copy is in use again`,
	);
}

/** Returns when no slapd has the directory open, whatever the script and the pid file say. */
async function stopLdap(ldap: Service, config: Config, places: LdapPlaces): Promise<void> {
	const environments = await environmentDirectories(config, places.current);
	const stopped = await ldap.stop(uninterrupted);
	if (!stopped.ok) throw new Error(`${stopped.problem}; ${stopped.hint}`);
	const deadline = performance.now() + releaseMs;
	for (;;) {
		const users = await environmentUsers(environments);
		const slapd = users.find(({ serves }) => serves);
		if (users.length === 0) return;
		if (performance.now() > deadline) {
			// A tool that reads keeps the directory that it has opened, wherever that is moved.
			if (slapd === undefined) return;
			throw new Error(
				`LDAP was stopped, but process ${slapd.pid} (${slapd.name}) has ${places.current} open; end it: kill ${slapd.pid}`,
			);
		}
		await sleep(50);
	}
}

async function environmentDirectories(config: Config, directory: string): Promise<string[]> {
	try {
		const { home, ldap } = config.zimbra;
		return environmentsOf(await readDatabases(directory, ldap, home)).map((place) =>
			join(directory, place),
		);
	} catch {
		return []; // between two renames nothing is there, or cn=config is what is broken
	}
}

async function carryOut(
	renames: readonly Rename[],
	places: LdapPlaces,
	name = "ldap-swap",
): Promise<void> {
	for (const { from, to } of renames) {
		await renameGeneration(places[from], places[to]);
		failPoint(`${name}:after-${from}-to-${to}`);
	}
}

async function needsRepair(places: LdapPlaces): Promise<boolean> {
	const present = await presentGenerations(places);
	const lost = !present.has("current") && present.has("previous");
	return lost || (await readIfThere(places.journal)) !== undefined;
}

async function readJournal(places: LdapPlaces): Promise<SwapJournal | undefined> {
	const text = await readIfThere(places.journal);
	if (text === undefined) return undefined;
	const { phase, snapshot } = JSON.parse(text);
	return { phase: phase === "rollback" ? "rollback" : "install", snapshot: String(snapshot) };
}

const writeJournal = (places: LdapPlaces, journal: SwapJournal): Promise<void> =>
	writeDurably(places.journal, JSON.stringify(journal));

const clearJournal = (places: LdapPlaces): Promise<void> => removeDurably(places.journal);

/** The snapshot that a directory holds; it is told by a file in it, which is renamed with it. */
export async function readMarker(directory: string): Promise<LdapSnapshot | undefined> {
	try {
		return JSON.parse(await readFile(join(directory, markerName), "utf8"));
	} catch {
		return undefined; // not a copy of ours, or not a whole one
	}
}
