import { open } from "node:fs/promises";
import { join } from "node:path";
import { hasCode, Refusal } from "../../../errors.ts";
import { DigestChain, linksToTake } from "../../../formats/redolog/digest-chain.ts";
import { headerSize } from "../../../formats/redolog/header.ts";
import type { LogIdentity } from "../../../formats/redolog/position.ts";
import type { Config } from "../../../services/config.ts";
import { makeDirectory, readAt, writeDurably } from "../../../services/files.ts";
import { keptLinksOf } from "../../../services/redolog/digests.ts";
import { isLeftEmpty } from "../../../services/redolog/empty-log.ts";
import { extendChain } from "../../../services/redolog/extend-chain.ts";
import type { KeptLinks } from "../../../services/redolog/kept-links.ts";
import { listArchive, type OpenLog, openLog } from "../../../services/redolog/open-log.ts";
import {
	headerDigest,
	type Provenance,
	readProvenance,
} from "../../../services/redolog/provenance.ts";

/** What this server has of the redo log, as far as it may be believed. */
export type LocalLog =
	/** redo.log, known to be ours up to where `chain` stands */
	| {
			readonly kind: "open";
			readonly identity: LogIdentity;
			readonly chain: DigestChain;
			/** bytes behind this offset were received from the live server */
			readonly from: number;
			/** bytes behind the chain's end that were never flushed, or were being cut */
			readonly leftover: number;
	  }
	/** the last log is archived; the next one is to be asked for */
	| {
			readonly kind: "between";
			/** of the log to ask for; its create time is 0 while it is not known */
			readonly identity: LogIdentity;
			readonly previousHeader: Buffer;
	  };

/**
 * Looks at the local redo log before anything is asked of the live server, and changes nothing.
 * Everything that counts as flushed is read again and compared with its recorded digest: after a
 * power loss only what is really there counts.
 * @param timeline of this server's history, for a log that has no record yet
 * Throws a Refusal: no-initial-copy, log-altered.
 */
export async function inspectLocalLog(
	config: Config,
	timeline: number,
	signal: AbortSignal,
): Promise<LocalLog> {
	const { zimbra } = config;
	const record = await readProvenance(zimbra.mirrorMarker);
	const current = await openLog(zimbra.currentLog);
	if (current === undefined) return await betweenLogs(config, record);
	await using log = current;
	if (record !== undefined && (await isLeftEmpty(zimbra, log))) {
		return await betweenLogs(config, record);
	}
	const { serverId, sequence, createTime } = log.header;
	const kept = keptLinksOf(config.base, log.header);
	const { size } = await log.file.stat();
	const newest = (await listArchive(zimbra)).at(-1);
	if (newest !== undefined && newest.sequence >= sequence) {
		throw altered(config, `it is log ${sequence}, but the archive has ${newest.name} already`);
	}
	if (record === undefined) {
		const identity = { serverId, sequence, createTime, timeline };
		const chain = await hash(log, kept, size, signal);
		return { kind: "open", identity, chain, from: size, leftover: 0 };
	}
	const { identity } = record;
	const same =
		identity.serverId === serverId &&
		identity.sequence === sequence &&
		identity.createTime === createTime;
	if (!same) {
		throw altered(
			config,
			`it is log ${sequence} of ${new Date(createTime).toISOString()}, this mirror was receiving log ${identity.sequence}`,
		);
	}
	if (size < record.upTo) {
		throw altered(config, `it has ${size} bytes, ${record.upTo} were received`);
	}
	if (size > record.upTo && !record.receiving) {
		throw altered(config, `it has ${size} bytes, only ${record.upTo} were received`);
	}
	if (!record.headers.includes(headerDigest(await readAt(log.file, 0, headerSize)))) {
		throw altered(config, "its header was written by somebody else");
	}
	let chain = await hash(log, kept, record.upTo, signal);
	if (chain.digest().toString("hex") !== record.digest) {
		await kept.forget();
		chain = await hash(log, undefined, record.upTo, signal);
	}
	if (chain.digest().toString("hex") !== record.digest) {
		throw altered(config, `its first ${record.upTo} bytes are not those that were received`);
	}
	return { kind: "open", identity, chain, from: record.from, leftover: size - record.upTo };
}

/**
 * The same at a glance, for a failover, where a log that a disk has damaged is still worth replaying: has
 * a mailboxd written here since? It changes the header when it starts, and rolls over when it stops.
 * Gives what tells so; undefined where nothing does.
 */
export async function foreignLog({ zimbra }: Config): Promise<string | undefined> {
	const record = await readProvenance(zimbra.mirrorMarker);
	if (record === undefined) return undefined;
	const { identity, headers } = record;
	const newest = (await listArchive(zimbra)).at(-1);
	if (newest !== undefined && newest.sequence > identity.sequence) {
		return `the archive has ${newest.name}, which was not received`;
	}
	const current = await openLog(zimbra.currentLog);
	if (current === undefined) return undefined;
	await using log = current;
	if (await isLeftEmpty(zimbra, log)) return undefined;
	if (!headers.includes(headerDigest(await readAt(log.file, 0, headerSize)))) {
		return `the header of ${zimbra.currentLog} was written by somebody else`;
	}
	// One that was killed may have left the header as it was; nothing of ours is behind what was flushed.
	const { size } = await log.file.stat();
	if (size <= record.upTo || record.receiving) return undefined;
	return `${zimbra.currentLog} has ${size} bytes, only ${record.upTo} were received`;
}

async function betweenLogs(config: Config, record: Provenance | undefined): Promise<LocalLog> {
	const { zimbra } = config;
	if (record === undefined) {
		throw new Refusal(
			"no-initial-copy",
			`${zimbra.currentLog} is missing: this server has no copy of the live one to go on from`,
			"make the initial copy with the live server stopped, redolog/ included: docs/runbooks.md, initial copy",
		);
	}
	const newest = (await listArchive(zimbra)).at(-1);
	if (newest === undefined || newest.sequence < record.identity.sequence) {
		// It was found to differ from the live one and moved away: the whole of it is needed again.
		return { kind: "between", identity: record.identity, previousHeader: Buffer.alloc(0) };
	}
	const log = await openLog(join(zimbra.archive, newest.name));
	if (log === undefined) {
		throw altered(config, `${newest.name}, the newest in the archive, is not a redo log`);
	}
	await using archived = log;
	const { serverId, sequence } = archived.header;
	const { timeline } = record.identity;
	return {
		kind: "between",
		identity: { serverId, sequence: sequence + 1, createTime: 0, timeline },
		previousHeader: await readAt(archived.file, 0, headerSize),
	};
}

async function hash(
	log: OpenLog,
	kept: KeptLinks | undefined,
	end: number,
	signal: AbortSignal,
): Promise<DigestChain> {
	const known = ((await kept?.read()) ?? []).slice(0, linksToTake(end));
	return await extendChain(log.file, new DigestChain(known), end, signal);
}

/**
 * Cuts what was written behind the last flushed position. It was never acknowledged and comes again;
 * it is kept aside all the same, where there is room, since nobody can tell it from what a mailboxd
 * would have left that was started here and killed.
 */
export async function dropLeftover(config: Config, local: LocalLog): Promise<void> {
	if (local.kind !== "open" || local.leftover === 0) return;
	const { offset } = local.chain;
	await using file = await open(config.zimbra.currentLog, "r+");
	const tail = await readAt(file, offset, local.leftover);
	await saveTail(config, local.identity, offset, tail).catch((error: unknown) => {
		if (!hasCode(error, "ENOSPC", "EDQUOT")) throw error;
	});
	await file.truncate(offset);
	await file.sync();
}

/** Saves what is about to be cut off; returns where. */
export async function saveTail(
	{ base }: Config,
	identity: LogIdentity,
	offset: number,
	tail: Buffer,
): Promise<string | undefined> {
	if (tail.length === 0) return undefined;
	await makeDirectory(base.aside);
	const name = `redo.log.seq${identity.sequence}.${identity.createTime}.from-${offset}.${Date.now()}`;
	const path = join(base.aside, name);
	await writeDurably(path, tail);
	return path;
}

function altered({ zimbra }: Config, what: string): Refusal {
	return new Refusal(
		"log-altered",
		`${zimbra.currentLog} is not as this mirror left it: ${what}. It seems that Zimbra was started here and has history of its own`,
		"nothing was changed; docs/runbooks.md, divergence, tells how to look at it and how to put it aside",
	);
}
