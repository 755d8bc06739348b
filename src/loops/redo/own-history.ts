import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { Refusal } from "../../errors.ts";
import { DigestChain } from "../../formats/redolog/digest-chain.ts";
import { headerSize } from "../../formats/redolog/header.ts";
import { currentLogName } from "../../formats/redolog/log-name.ts";
import { formatPosition, type LogIdentity } from "../../formats/redolog/position.ts";
import { LogWalk } from "../../formats/redolog/walker.ts";
import { startAt } from "../../formats/replay/replayed-position.ts";
import { isFollowing } from "../../formats/role.ts";
import type { Config } from "../../services/config.ts";
import { failPoint } from "../../services/fail-point.ts";
import {
	keepDurably,
	makeDirectory,
	moveDurably,
	readAt,
	renameDurably,
	writeAt,
} from "../../services/files.ts";
import { extendChain } from "../../services/redolog/extend-chain.ts";
import { fileSource } from "../../services/redolog/log-files.ts";
import { listArchive, type OpenLog, openLog } from "../../services/redolog/open-log.ts";
import { headerDigest, ProvenanceFile } from "../../services/redolog/provenance.ts";
import { readRole } from "../../services/role.ts";
import { type Asking, askAbout, firstDifference } from "./receiver/ask.ts";
import { cleanEnd } from "./replayer/initial-position.ts";
import { readReplayed, writeReplayed } from "./replayer/position.ts";

/** What the local redo log has and the live one has not. */
export type OwnHistory = {
	/** the log in which both part, and the last record boundary at which they agree */
	readonly identity: LogIdentity;
	readonly offset: number;
	/** name of that log: in archive/, or redo.log */
	readonly name: string;
	/** they agree up to the end of that log */
	readonly whole: boolean;
	/** names in archive/ that came after it */
	readonly later: readonly string[];
	/** change records in the part of our own */
	readonly operations: number;
	/** ms since the epoch; 0 where there is no operation */
	readonly firstTime: number;
	readonly lastTime: number;
	readonly kinds: ReadonlyMap<string, number>;
};

/**
 * Finds where the local history leaves the live one: the newest local log of which the live server
 * has the beginning. Changes nothing. Throws a Refusal where there is no such log.
 */
export async function findOwnHistory(asking: Asking, timeline: number): Promise<OwnHistory> {
	const { config } = asking;
	const archive = await listArchive(config.zimbra);
	const names = [...archive.map(({ name }) => name), currentLogName];
	for (const name of names.toReversed()) {
		const found = await openLog(pathOf(config, name));
		if (found === undefined) continue;
		await using log = found;
		const common = await commonPart(asking, log, timeline);
		if (common === undefined) continue;
		const { sequence } = log.header;
		const later = archive.filter((each) => each.name !== name && each.sequence >= sequence);
		const laterNames = later.map((each) => each.name);
		const offset = boundaryBelow(log, common);
		const whole = common === (await log.file.stat()).size;
		return {
			identity: identityOf(log, timeline),
			offset,
			name,
			whole,
			later: laterNames,
			...(await countOperations(
				config,
				log,
				offset,
				name === currentLogName ? [] : [...laterNames, currentLogName],
			)),
		};
	}
	throw new Refusal(
		"divergence",
		`no redo log on this server is the beginning of one on ${config.remoteAddress}: the two have nothing in common`,
		"this server cannot become a mirror of that one without a new initial copy: docs/runbooks.md, initial copy",
	);
}

/** Up to where the live server has the same bytes; undefined where it has no such log. */
async function commonPart(
	asking: Asking,
	log: OpenLog,
	timeline: number,
): Promise<number | undefined> {
	const { size } = await log.file.stat();
	const chain = await extendChain(log.file, new DigestChain(), size, asking.signal);
	const local = {
		kind: "open" as const,
		identity: identityOf(log, timeline),
		chain,
		from: size,
		leftover: 0,
	};
	const answer = await askAbout(asking, local);
	if (answer.kind === "agreed") return size;
	if (answer.kind === "differs") return await firstDifference(log.file, size, answer);
	if (answer.kind === "refusal" && answer.code === "archive-gone") {
		throw new Refusal("archive-gone", `the live server says: ${answer.message}`, answer.hint);
	}
	return undefined;
}

/** The last record boundary at or below an offset: a history is cut between records only. */
function boundaryBelow(log: OpenLog, offset: number): number {
	const walk = new LogWalk(fileSource(log.file.fd), { to: offset });
	let boundary = headerSize;
	for (const record of walk) boundary = record.offset + record.length;
	return boundary;
}

async function countOperations(
	config: Config,
	log: OpenLog,
	offset: number,
	later: readonly string[],
): Promise<Pick<OwnHistory, "operations" | "firstTime" | "lastTime" | "kinds">> {
	const kinds = new Map<string, number>();
	const transactions = new Set<string>();
	let [firstTime, lastTime] = [0, 0];
	const count = (fd: number, from: number) => {
		for (const record of new LogWalk(fileSource(fd), { from })) {
			if (record.kind !== "change") continue;
			const { time, counter } = record.transaction;
			// An operation that was active at a rollover is logged again in the next log.
			const transaction = `${time}.${counter}`;
			if (transactions.has(transaction)) continue;
			transactions.add(transaction);
			kinds.set(record.name, (kinds.get(record.name) ?? 0) + 1);
			firstTime = firstTime === 0 ? record.timestamp : Math.min(firstTime, record.timestamp);
			lastTime = Math.max(lastTime, record.timestamp);
		}
	};
	count(log.file.fd, offset);
	for (const name of later) {
		const next = await openLog(pathOf(config, name));
		if (next === undefined) continue;
		await using each = next;
		count(each.file.fd, headerSize);
	}
	return { operations: transactions.size, firstTime, lastTime, kinds };
}

/** Whether the live server has everything that is here: nothing is our own. */
export const isContained = (own: OwnHistory): boolean =>
	own.name === currentLogName && own.whole && own.later.length === 0 && own.operations === 0;

/** One sentence for a person who has to decide. */
export function describeOwnHistory(own: OwnHistory): string {
	const at = formatPosition({ sequence: own.identity.sequence, offset: own.offset });
	if (own.operations === 0) return `it leaves the live one at ${at}, with no operation behind that`;
	const kinds = [...own.kinds].map(([name, count]) => `${count} ${name}`).join(", ");
	const [first, last] = [own.firstTime, own.lastTime].map((time) => new Date(time).toISOString());
	return `it leaves the live one at ${at}; behind that it has ${own.operations} operations of its own from ${first} to ${last}: ${kinds}`;
}

/**
 * A server that was live and was stopped cleanly, of whose history the new live server has everything:
 * it is as good as an initial copy, and follows from its own end.
 */
export async function adoptAsCopy(config: Config, timeline: number): Promise<void> {
	const { identity, offset } = await cleanEnd(config.zimbra, timeline);
	await using file = await open(config.zimbra.currentLog, "r");
	const chain = await extendChain(file, new DigestChain(), offset, new AbortController().signal);
	await writeReplayed(config, startAt(identity, offset));
	await writeRecord(config, { identity, offset }, file, chain);
}

/**
 * Moves the history of our own to status/aside and leaves a redo.log that ends where both part. What
 * these operations did to the message store is not undone. Gives the directory. May be repeated after
 * a crash in the middle of it.
 */
export async function setAsideOwnHistory(config: Config, own: OwnHistory): Promise<string> {
	const { zimbra, base } = config;
	const directory = join(base.aside, `own-history-${new Date().toISOString().replaceAll(":", "")}`);
	await makeDirectory(directory);
	// Zimbra archives nothing of the number of redo.log, or behind it: one cut short has come so far.
	const replaced = own.name === currentLogName && own.whole && own.later.length > 0;
	if (!replaced) await replaceLog(config, own, directory);
	for (const name of [...own.later, ...(own.name === currentLogName ? [] : [own.name])]) {
		await moveIfThere(join(zimbra.archive, name), join(directory, name));
	}
	return directory;
}

/** Until redo.log is replaced, in one rename, all is as it was, and is found again in the same way. */
async function replaceLog(config: Config, own: OwnHistory, directory: string): Promise<void> {
	const { zimbra } = config;
	// Where Zimbra died, its store may lack what is in its log, the common part included.
	await cleanEnd(zimbra, own.identity.timeline);
	const prepared = join(zimbra.redolog, ".live_sync.common");
	const chain = await copyCommon(pathOf(config, own.name), prepared, own.offset);
	{
		await using file = await open(prepared, "r");
		await writeRecord(config, own, file, chain);
	}
	await writePosition(config, own);
	await keepDurably(zimbra.currentLog, join(directory, currentLogName));
	failPoint("set-aside:before-replacement");
	await renameDurably(prepared, zimbra.currentLog);
	failPoint("set-aside:after-replacement");
}

async function copyCommon(from: string, to: string, end: number): Promise<DigestChain> {
	await using source = await open(from, "r");
	await using target = await open(to, "w", 0o640);
	const chain = new DigestChain();
	await writeAt(target, 0, await readAt(source, 0, headerSize));
	while (chain.offset < end) {
		const bytes = await readAt(source, chain.offset, Math.min(1 << 20, end - chain.offset));
		if (bytes.length === 0) throw new Error(`${from} has become shorter`);
		await writeAt(target, chain.offset, bytes);
		chain.update(bytes);
	}
	await target.sync();
	return chain;
}

/** What is left counts like an initial copy: it was not received, and it is in the live history. */
async function writeRecord(
	{ zimbra }: Config,
	{ identity, offset }: Pick<OwnHistory, "identity" | "offset">,
	file: FileHandle,
	chain: DigestChain,
): Promise<void> {
	const header = await readAt(file, 0, headerSize);
	await using provenance = await ProvenanceFile.open(zimbra.mirrorMarker);
	await provenance.update(() => ({
		identity,
		from: offset,
		upTo: offset,
		digest: chain.digest().toString("hex"),
		headers: [headerDigest(header)],
		receiving: false,
	}));
}

/**
 * Replay goes on where both part. On a mirror on which Zimbra was started by mistake it may not have
 * come so far; what is known of a server that has been live since is of an earlier life.
 */
async function writePosition(config: Config, { identity, offset }: OwnHistory): Promise<void> {
	const follows = isFollowing(await readRole(config.base.role));
	const known = follows ? await readReplayed(config).catch(() => undefined) : undefined;
	const behind =
		known !== undefined &&
		(known.log.sequence < identity.sequence ||
			(known.log.sequence === identity.sequence && known.offset <= offset));
	if (!behind) await writeReplayed(config, startAt(identity, offset));
}

async function moveIfThere(from: string, to: string): Promise<void> {
	const log = await openLog(from);
	if (log === undefined) return;
	await log.file.close();
	await moveDurably(from, to);
}

const pathOf = ({ zimbra }: Config, name: string): string =>
	name === currentLogName ? zimbra.currentLog : join(zimbra.archive, name);

const identityOf = ({ header }: OpenLog, timeline: number): LogIdentity => ({
	serverId: header.serverId,
	sequence: header.sequence,
	createTime: header.createTime,
	timeline,
});
