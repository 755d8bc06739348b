import { createHash } from "node:crypto";
import { join } from "node:path";
import { Refusal } from "../../errors.ts";
import { DigestChain } from "../../formats/redolog/digest-chain.ts";
import { headerSize } from "../../formats/redolog/header.ts";
import { currentLogName } from "../../formats/redolog/log-name.ts";
import { formatPosition, type Position } from "../../formats/redolog/position.ts";
import { LogWalk } from "../../formats/redolog/walker.ts";
import {
	type BehindPart,
	findCut,
	lookBehind,
	sortUnreplayed,
	type Unreplayed,
	withoutReplayOf,
} from "../../formats/replay/behind.ts";
import type { ReplayedPosition } from "../../formats/replay/replayed-position.ts";
import type { ReplayLog } from "../../formats/replay/scan.ts";
import type { Config } from "../../services/config.ts";
import { failPoint } from "../../services/fail-point.ts";
import { extendChain } from "../../services/redolog/extend-chain.ts";
import { fileSource } from "../../services/redolog/log-files.ts";
import { findLog, listArchive, type OpenLog, openLog } from "../../services/redolog/open-log.ts";
import {
	type SavedLogs,
	savedPlaces,
	saveReceivedLogs,
	writeSavedLogs,
} from "../../services/redolog/saved-logs.ts";
import { pause } from "../../services/redolog/slice-writer.ts";
import { readRunRecord, writeRunRecord } from "../../services/zimbra/run-record.ts";
import { type Exported, exportMessages } from "./export-messages.ts";
import { keep } from "./replayer/kept-operations.ts";
import { openSavedLogs } from "./replayer/logs.ts";
import { readReplayed, writeReplayed } from "./replayer/position.ts";
import { throwWhereLogsEnd } from "./replayer/remarks.ts";

/** What lies between the store and the end of what was received, where Zimbra was started without `stop`. */
export type FoundUnreplayed = Unreplayed & {
	readonly from: ReplayedPosition;
	readonly to: Position;
	readonly saved: SavedLogs;
};

/**
 * Saves what was received and not replayed, and tells what of it is not in the message store. While mailboxd
 * runs that is what it was a moment ago. Undefined where nothing was received.
 * Throws a Refusal (log-altered) where the bytes are not those that were received.
 */
export async function findUnreplayed(config: Config): Promise<FoundUnreplayed | undefined> {
	const from = await readReplayed(config);
	const saved = await saveReceivedLogs(config, from);
	if (saved === undefined) return undefined;
	const { sequence, createTime } = saved.identity;
	await using log =
		(await findLog(config.zimbra, sequence, createTime)) ??
		(await openLog(savedPlaces(config).currentLog));
	if (log === undefined) {
		throw new Refusal(
			"archive-gone",
			`redo log ${sequence}, which this mirror was receiving when Zimbra was started here, is neither in ${config.zimbra.redolog} nor in ${config.base.unreplayed}`,
			`put it back into ${config.zimbra.archive}; if it is nowhere, what it has is lost here: docs/runbooks.md, Zimbra was started without stop`,
		);
	}
	await using own = await openOwnLogs(config, saved);
	const end = await receivedEnd(config, log, saved, own.logs, from);
	const known = { ...saved, end };
	await using received = await openSavedLogs(config, known, from);
	const to = { sequence, offset: end };
	const behind: BehindPart[] = [
		{ log: asReplayLog(log, (await log.file.stat()).size, saved), from: end },
		...own.logs.map((each) => ({ log: each, from: headerSize })),
	];
	const found = await sortUnreplayed(
		{ logs: received.logs, from, to },
		(ids) => lookBehind(behind, ids, own.whole, pause),
		pause,
	);
	// What cannot be read is not "nothing".
	throwWhereLogsEnd(config, { end: found.end, files: [] }, from);
	return { ...found, from, to, saved: known };
}

/**
 * Prepares the replay of exactly what Zimbra has not executed here: from now on the replayer sees only what
 * was received, leaves out what the start-up recovery has executed, and what must not be replayed any more
 * is exported. May be repeated after a crash at any moment, and after Zimbra has run once more.
 * Only while mailboxd is down.
 */
export async function prepareUnreplayed(
	config: Config,
	{ from, to, saved, recovered, overtaken }: FoundUnreplayed,
): Promise<Exported | undefined> {
	await writeSavedLogs(config, saved);
	const exported = await exportOvertaken(config, { from, to, saved, overtaken });
	failPoint("stop:before-leaving-out");
	const gone = [...recovered, ...overtaken];
	// A run that was cut short comes again, and goes on from there.
	const run = await readRunRecord(config);
	if (run !== undefined) {
		await writeRunRecord(config, { ...run, next: withoutReplayOf(run.next, gone) });
	}
	await writeReplayed(config, withoutReplayOf(from, gone));
	return exported;
}

async function exportOvertaken(
	config: Config,
	{ from, to, saved, overtaken }: Pick<FoundUnreplayed, "from" | "to" | "saved" | "overtaken">,
): Promise<Exported | undefined> {
	if (overtaken.length === 0) return undefined;
	const ids = new Set(overtaken.map(({ id }) => id));
	// Of the same operations the same lot: what a crash has left of it is replaced.
	const mark = createHash("sha256")
		.update([...ids].join())
		.digest("hex")
		.slice(0, 8);
	await using range = await openSavedLogs(config, saved, from);
	const lot = await keep(config, {
		kind: "exported",
		run: `${from.log.sequence}-${from.offset}-${mark}`,
		range: { logs: range.logs, from, to },
		wanted: ({ id }) => ids.has(id),
	});
	return lot && (await exportMessages(lot.directory, lot.count));
}

/** Where the bytes end that were received, at a record boundary: Zimbra's start cuts a record that is not whole. */
async function receivedEnd(
	{ zimbra }: Config,
	log: OpenLog,
	saved: SavedLogs,
	later: readonly ReplayLog[],
	from: ReplayedPosition,
): Promise<number> {
	const { upTo, digest, flushedAt, identity } = saved;
	const endless = new AbortController().signal;
	const boundary = from.log.sequence === identity.sequence ? from.offset : headerSize;
	const chain = await extendChain(log.file, new DigestChain(), upTo, endless);
	if (chain.offset === upTo && chain.digest().toString("hex") === digest) {
		const walk = new LogWalk(fileSource(log.file.fd), { from: boundary, to: upTo });
		for (let i = 1; walk.next() !== undefined; i++) if (i % 4096 === 0) await pause();
		return walk.end?.kind === "torn" ? walk.end.offset : upTo;
	}
	const { size } = await log.file.stat();
	const received = asReplayLog(log, size, saved);
	const cut = findCut({ log: received, from: boundary, upTo, later, flushedAt });
	if (cut !== undefined) return cut.offset;
	throw new Refusal(
		"log-altered",
		`redo log ${identity.sequence} in ${zimbra.redolog} is not as this mirror left it: its first ${upTo} bytes are not those that were received, and it was not Zimbra's start that changed them`,
		"nothing is replayed, and nothing was changed; docs/runbooks.md, Zimbra was started without stop",
	);
}

/**
 * The logs that Zimbra has made here since, oldest first, and whether these are all. One that began without
 * a redo.log, since the one before had just been archived, counts from 0.
 */
async function openOwnLogs(
	{ zimbra }: Config,
	{ identity }: SavedLogs,
): Promise<{ logs: readonly ReplayLog[]; whole: boolean } & AsyncDisposable> {
	const opened: OpenLog[] = [];
	const found = new Map<number, OpenLog>();
	const isOwn = ({ header }: OpenLog) =>
		header.createTime !== identity.createTime &&
		(header.sequence > identity.sequence || header.createTime > identity.createTime);
	const take = (log: OpenLog | undefined) => {
		if (log === undefined) return;
		opened.push(log);
		if (isOwn(log) && !found.has(log.header.sequence)) found.set(log.header.sequence, log);
	};
	const archived = (await listArchive(zimbra)).map(({ name }) => join(zimbra.archive, name));
	for (const path of [...archived, zimbra.currentLog]) take(await openLog(path));
	const sequences = [...found.keys()];
	const first = sequences.some((sequence) => sequence <= identity.sequence)
		? 0
		: identity.sequence + 1;
	let whole = true;
	for (let sequence = first; sequence < Math.max(first, ...sequences); sequence++) {
		if (found.has(sequence)) continue;
		// An incremental backup takes logs away.
		take(await findLog(zimbra, sequence, 0));
		if (!found.has(sequence)) whole = false;
	}
	const logs: ReplayLog[] = [];
	for (const log of [...found.values()].sort((a, b) => a.header.sequence - b.header.sequence)) {
		logs.push(asReplayLog(log, (await log.file.stat()).size, { identity }));
	}
	return {
		logs,
		whole,
		async [Symbol.asyncDispose]() {
			for (const log of opened) await log.file.close();
		},
	};
}

function asReplayLog(
	{ file, header, path }: OpenLog,
	length: number,
	{ identity }: Pick<SavedLogs, "identity">,
): ReplayLog {
	const { serverId, sequence, createTime } = header;
	return {
		identity: { serverId, sequence, createTime, timeline: identity.timeline },
		name: path.endsWith(currentLogName) ? currentLogName : path,
		header,
		source: fileSource(file.fd),
		length,
		closed: false,
		verified: false,
	};
}

/** One sentence for a person: what is not in the message store. Undefined where nothing is missing there. */
export function describeUnreplayed({
	from,
	to,
	open: left,
	overtaken,
}: FoundUnreplayed): string | undefined {
	const count = left.length + overtaken.length;
	if (count === 0) return undefined;
	const start = formatPosition({ sequence: from.log.sequence, offset: from.offset });
	return `${count} operations that were received from the live server, between ${start} and ${formatPosition(to)} of its redo log, are not in the message store`;
}

/** What to say where mailboxd runs, or ran, on a mirror that was not stopped, and mail is not in its store. */
export function notReplayed({ base }: Config, what: string): Refusal {
	return new Refusal(
		"mailboxd-up",
		`Zimbra was started on this mirror without live-syncd stop: ${what}. They are kept in ${base.unreplayed}, and nothing was changed`,
		"if this server is to be the live one: zmcontrol stop, then live-syncd stop, then zmcontrol start; the sooner, the more of them can be replayed: docs/runbooks.md, Zimbra was started without stop",
	);
}
