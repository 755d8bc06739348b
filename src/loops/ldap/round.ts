import { randomUUID } from "node:crypto";
import { rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { judgeVersions } from "../../formats/guards.ts";
import { blockSize } from "../../formats/ldap/block-size.ts";
import { sameMark } from "../../formats/ldap/mark.ts";
import type { SnapshotAnswer } from "../../formats/ldap/wire.ts";
import { noisyShell } from "../../formats/protocol/answers.ts";
import type { LdapSnapshot } from "../../formats/state.ts";
import type { Config } from "../../services/config.ts";
import { failPoint } from "../../services/fail-point.ts";
import { writeWhole } from "../../services/files.ts";
import { checkRoom, roomForCopy, syncTree } from "../../services/ldap/copies.ts";
import {
	digestFiles,
	environmentsOf,
	readDatabases,
	readEnvironments,
} from "../../services/ldap/directory.ts";
import { findPlaces, type LdapPlaces } from "../../services/ldap/places.ts";
import { forRound } from "../../services/ldap/round-processes.ts";
import type { Logger } from "../../services/log/logger.ts";
import { describeResult, makeRun, type Run } from "../../services/run.ts";
import { askedOf, type SshLink } from "../../services/ssh/connect.ts";
import { zimbraVersion } from "../../services/zimbra/version.ts";
import { checkCopy, type Expected } from "./check.ts";
import type { LdapStatus } from "./ldap-status.ts";
import { type LiveWatch, requestSnapshot } from "./live-watch.ts";
import type { Passwords } from "./passwords.ts";
import { pull, type Transfer } from "./pull.ts";
import { stillMirror } from "./still-mirror.ts";
import { markerName, swapIn, takeSwapLock } from "./swap.ts";

export type RoundParts = {
	readonly config: Config;
	readonly log: Logger;
	readonly link: SshLink;
	readonly watch: LiveWatch;
	readonly status: LdapStatus;
	readonly passwords: Passwords;
	readonly signal: AbortSignal;
};

/** How often files are copied again because they changed meanwhile, where there are no snapshots. */
const maxPulls = 5;

type Fetched = Transfer & {
	readonly snapshot: Omit<LdapSnapshot, "entries">;
	readonly expected: Expected;
};

/**
 * One round: fetches a copy of the live directory, checks it, and puts it in use. The mirror's LDAP
 * serves from the copy before until the very end, and again where anything goes wrong. Returns how
 * many ms it worked; waiting for a replay run costs nobody anything.
 */
export async function runRound(parts: RoundParts): Promise<number> {
	const { config, log, status, signal } = parts;
	const began = performance.now();
	const run = forRound(config, makeRun(config.settings));
	const places = await findPlaces(config);
	await mayBeUsed(parts);
	// What a round before has left counts against the room for this one.
	await rm(places.next, { recursive: true, force: true });
	await rm(places.discarded, { recursive: true, force: true });
	status.setPhase("pulling");
	const { snapshot, expected, ...transfer } = await fetchCopy(parts, run, places);
	failPoint("ldap-round:after-pull");

	status.setPhase("checking");
	await duplicate(config, run, places, signal);
	failPoint("ldap-round:before-check");
	const options = { config, run, signal, copy: places.next, scratch: places.check };
	const entries = await checkCopy(options, expected);
	const copy: LdapSnapshot = { ...snapshot, entries };
	await writeWhole(join(places.next, markerName), `${JSON.stringify(copy)}\n`);
	await syncTree(places.next);
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

async function fetchCopy(parts: RoundParts, run: Run, places: LdapPlaces): Promise<Fetched> {
	// Before a snapshot is made in vain.
	if (parts.watch.noise !== "") throw noisyShell(askedOf(parts.config), parts.watch.noise);
	if (parts.watch.hello.method === "files") return await fetchFiles(parts, run, places);
	const { config, link, signal } = parts;
	const answer = await requestSnapshot(link, config, signal);
	// cn=config and schema of another release are not for this server's slapd and mailboxd.
	const { zimbra } = answer;
	const otherVersion = judgeVersions(config.remoteAddress, zimbra, await zimbraVersion(config));
	if (otherVersion !== undefined) throw otherVersion;
	const size = answer.contents.reduce((sum, file) => sum + file.size, 0);
	const room = await roomForCopy(size, places.staging);
	await checkRoom(dirname(places.staging), room, config.settings.disk_floor);
	const transfer = await pull({
		config,
		run,
		signal,
		from: answer.directory,
		to: places.staging,
		method: { kind: "snapshot", blockSize: await bestBlockSize(answer, size, places) },
	});
	return { ...transfer, snapshot: snapshotOf(answer), expected: answer };
}

/** By the number of transactions since what is in staging. */
async function bestBlockSize(
	{ transactionIds }: SnapshotAnswer,
	size: number,
	places: LdapPlaces,
): Promise<number> {
	let transactions = 0;
	const names = Object.keys(transactionIds);
	const staged = await readEnvironments(places.staging, names).catch(() => undefined);
	for (const [name, { transactionId }] of staged ?? []) {
		transactions += Math.abs((transactionIds[name] ?? 0) - transactionId);
	}
	return blockSize(size, transactions);
}

const snapshotOf = ({
	id,
	transactionIds,
	sources,
	files,
	coverage,
	takenAt,
}: SnapshotAnswer): Fetched["snapshot"] => ({
	id,
	transactionIds,
	sources,
	files,
	coverage,
	takenAt,
});

/** The 2011 way: copies the files until nothing has changed meanwhile, but not for ever. */
async function fetchFiles(
	{ config, log, watch, signal }: RoundParts,
	run: Run,
	places: LdapPlaces,
): Promise<Fetched> {
	let transfer: Transfer = { bytesReceived: 0, bytesSent: 0 };
	for (let attempt = 1; attempt <= maxPulls; attempt++) {
		const before = await watch.fresh();
		const pulled = await pull({
			config,
			run,
			signal,
			from: watch.hello.directory,
			to: places.staging,
			method: { kind: "files" },
		});
		transfer = {
			bytesReceived: transfer.bytesReceived + pulled.bytesReceived,
			bytesSent: transfer.bytesSent + pulled.bytesSent,
		};
		if (sameMark(before, await watch.fresh())) {
			const { transactionIds, sources, files, coverage, clock } = before;
			return {
				...transfer,
				snapshot: { id: randomUUID(), transactionIds, sources, files, coverage, takenAt: clock },
				expected: { transactionIds },
			};
		}
		log.info({ attempt, of: maxPulls }, "LDAP changed while it was copied, copying again");
	}
	throw new Error(
		`LDAP on ${config.remoteAddress} changed during each of ${maxPulls} copies; it is tried again later (with mdb_copy installed there, a changing directory can be copied: ${watch.hello.reason ?? ""})`,
	);
}

/**
 * Staging stays as it came, so that the next transfer is small; slapd gets a copy of it, which costs
 * nothing where the file system can share blocks.
 */
async function duplicate(
	config: Config,
	run: Run,
	places: LdapPlaces,
	signal: AbortSignal,
): Promise<void> {
	const command = ["cp", "-a", "--reflink=auto", "--sparse=auto", places.staging, places.next];
	const result = await run(command, { timeoutMs: config.settings.ldap_check_timeout, signal });
	signal.throwIfAborted();
	if (result.exitCode !== 0) throw new Error(describeResult(command, result));
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
