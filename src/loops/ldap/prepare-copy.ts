import { randomUUID } from "node:crypto";
import { rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { judgeVersions } from "../../formats/guards.ts";
import { blockSize } from "../../formats/ldap/block-size.ts";
import { sameMark } from "../../formats/ldap/mark.ts";
import type { SnapshotAnswer } from "../../formats/ldap/wire.ts";
import { noisyShell } from "../../formats/protocol/answers.ts";
import { parseHello } from "../../formats/protocol/hello.ts";
import type { LdapSnapshot } from "../../formats/state.ts";
import { failPoint } from "../../services/fail-point.ts";
import { syncDirectory, writeDurably } from "../../services/files.ts";
import { demandHarmlessConfig } from "../../services/ldap/copied-tree.ts";
import { checkRoom, roomForCopy, syncTree } from "../../services/ldap/copies.ts";
import {
	areaOf,
	environmentsOf,
	readDatabases,
	readEnvironments,
} from "../../services/ldap/directory.ts";
import { discard } from "../../services/ldap/discard.ts";
import { findPlaces, type LdapPlaces, markerName } from "../../services/ldap/places.ts";
import { forRound } from "../../services/ldap/round-processes.ts";
import type { Logger } from "../../services/log/logger.ts";
import type { PeerConfig } from "../../services/peer-config.ts";
import { describeResult, makeRun, type Run } from "../../services/run.ts";
import { ask, askedOf, connect } from "../../services/ssh/connect.ts";
import { zimbraVersion } from "../../services/zimbra/version.ts";
import { checkCopy, type Expected } from "./check.ts";
import { type LiveWatch, requestSnapshot } from "./live-watch.ts";
import { type PullPart, pull, type Transfer } from "./pull.ts";

export type CopyParts = {
	readonly config: PeerConfig;
	readonly log: Logger;
	readonly watch: LiveWatch;
	readonly signal: AbortSignal;
	/** where the copy is made, if not where it is put in use from */
	readonly places?: LdapPlaces;
};

export type CopyPhase = "pulling" | "checking";

/** A copy in {@link LdapPlaces.next}, whole, checked, and durable. */
export type CheckedCopy = {
	readonly copy: LdapSnapshot;
	readonly places: LdapPlaces;
	readonly transfer: Transfer;
};

/** How often files are copied again because they changed meanwhile, where there are no snapshots. */
const maxPulls = 5;

type Fetched = {
	readonly transfer: Transfer;
	readonly snapshot: Omit<LdapSnapshot, "entries">;
	readonly expected: Expected;
};

/**
 * Fetches a copy of the live directory into `next` and checks it. What this server's slapd serves from
 * is not touched, so `start` may call it too, as long as no LDAP loop works. A copy that waits in `next` makes
 * way: it is put in use first.
 */
export async function prepareCopy(
	parts: CopyParts,
	onPhase: (phase: CopyPhase) => void = () => undefined,
): Promise<CheckedCopy> {
	const { config, signal } = parts;
	const run = forRound(config, makeRun(config.settings));
	const places = parts.places ?? (await findPlaces(config));
	// What a round before has left counts against the room for this one.
	await rm(places.next, { recursive: true, force: true });
	await discard(config, places, parts.log);
	onPhase("pulling");
	const { snapshot, expected, transfer } = await fetchCopy(parts, run, places);
	failPoint("ldap-round:after-pull");

	onPhase("checking");
	try {
		await duplicate(config, run, places, signal);
		failPoint("ldap-round:before-check");
		const options = { config, run, signal, copy: places.next, scratch: places.check };
		const entries = await checkCopy(options, expected);
		const copy: LdapSnapshot = { ...snapshot, entries };
		await syncTree(places.next);
		await syncDirectory(dirname(places.next));
		// Last: a copy that has it is whole, checked and durable, whatever ends this process or this server.
		await writeDurably(join(places.next, markerName), `${JSON.stringify(copy)}\n`);
		return { copy, places, transfer };
	} catch (error) {
		await rm(places.next, { recursive: true, force: true }).catch(() => undefined);
		throw error;
	}
}

async function fetchCopy(parts: CopyParts, run: Run, places: LdapPlaces): Promise<Fetched> {
	// Before a snapshot is made in vain.
	if (parts.watch.noise !== "") throw noisyShell(askedOf(parts.config), parts.watch.noise);
	if (parts.watch.hello.method === "files") return await fetchFiles(parts, run, places);
	const { config, signal } = parts;
	const answer = await askForSnapshot(parts);
	await demandSameVersion(config, answer.zimbra);
	const size = answer.contents.reduce((sum, file) => sum + file.size, 0);
	await demandRoom(config, places, size);
	const transfer = await pull({
		config,
		run,
		signal,
		from: answer.directory,
		to: places.staging,
		parts: partsOf(Object.keys(answer.transactionIds)),
		method: { kind: "snapshot", blockSize: await bestBlockSize(answer, size, places) },
	});
	return { transfer, snapshot: snapshotOf(answer), expected: answer };
}

/** cn=config and schema of another release are not for this server's slapd and mailboxd. */
async function demandSameVersion(config: PeerConfig, zimbra: string | undefined): Promise<void> {
	const other = judgeVersions(config.remoteAddress, zimbra, await zimbraVersion(config));
	if (other !== undefined) throw other;
}

/** On a connection of its own: with `MaxSessions 1` sshd refuses a second command on that of the watch. */
async function askForSnapshot({ config, watch, signal }: CopyParts): Promise<SnapshotAnswer> {
	using link = await connect(config, signal);
	return await requestSnapshot(link, config, signal, watch.hello.watch);
}

/** Throws where a copy of so many bytes would leave less than disk_floor. */
async function demandRoom(
	config: PeerConfig,
	{ staging }: LdapPlaces,
	size: number,
): Promise<void> {
	const room = await roomForCopy(size, staging);
	await checkRoom(dirname(staging), room, config.settings.disk_floor);
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

/** cn=config first: it names the databases. */
async function pullFiles(
	{ config, watch, signal }: CopyParts,
	run: Run,
	{ staging }: LdapPlaces,
): Promise<Transfer> {
	const { home, ldap } = config.zimbra;
	const common = { config, run, signal, from: watch.hello.directory, to: staging };
	const method = { kind: "files" } as const;
	// This first pull removes nothing, and what the live server has no more would be judged too.
	await rm(join(staging, "config"), { recursive: true, force: true });
	await pull({ ...common, method, parts: partsOf([]), keepRest: true });
	await demandHarmlessConfig(config, staging);
	const databases = await readDatabases(staging, ldap, home);
	const areas = databases.filter(({ backend }) => backend !== "mdb").map(areaOf);
	return await pull({ ...common, method, parts: partsOf(environmentsOf(databases), areas) });
}

/** What is copied of data/ldap; see listOwn() for the same on the live side. */
const partsOf = (environments: readonly string[], areas: readonly string[] = []): PullPart[] => [
	// slapd reads no other files there. A module among them could be loaded once it is here.
	{ path: "config", what: "ldif" },
	// slapd leaves its pid file there.
	{ path: "state/run", what: "empty" },
	...environments.map((path) => ({ path, what: "environment" }) as const),
	...areas.map((path) => ({ path, what: "all" }) as const),
];

/** The 2011 way: copies the files until nothing has changed meanwhile, but not for ever. */
async function fetchFiles(parts: CopyParts, run: Run, places: LdapPlaces): Promise<Fetched> {
	const { config, log, watch, signal } = parts;
	const { connect_timeout, command_timeout } = config.settings;
	const { stdout } = await ask(config, "hello", signal, connect_timeout + command_timeout);
	await demandSameVersion(config, parseHello(stdout)?.zimbra);
	await demandRoom(config, places, watch.hello.size ?? 0);
	let transfer: Transfer = { bytesReceived: 0, bytesSent: 0 };
	for (let attempt = 1; attempt <= maxPulls; attempt++) {
		const before = await watch.fresh();
		const pulled = await pullFiles(parts, run, places);
		transfer = {
			bytesReceived: transfer.bytesReceived + pulled.bytesReceived,
			bytesSent: transfer.bytesSent + pulled.bytesSent,
		};
		if (sameMark(before, await watch.fresh())) {
			const { transactionIds, sources, files, coverage, clock } = before;
			return {
				transfer,
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
	config: PeerConfig,
	run: Run,
	places: LdapPlaces,
	signal: AbortSignal,
): Promise<void> {
	// A marker of the live server's would say that the copy is checked. The rules of the pull leave it
	// there, but an rsync that is not what we think may send it.
	await rm(join(places.staging, markerName), { recursive: true, force: true });
	const command = ["cp", "-a", "--reflink=auto", "--sparse=auto", places.staging, places.next];
	const result = await run(command, { timeoutMs: config.settings.ldap_check_timeout, signal });
	signal.throwIfAborted();
	if (result.exitCode !== 0) throw new Error(describeResult(command, result));
}
