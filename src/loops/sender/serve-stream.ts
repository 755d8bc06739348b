import type { Readable, Writable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { Refusal } from "../../errors.ts";
import type { FromLive, LogPosition, StreamRequest } from "../../formats/protocol/messages.ts";
import { encodeFromLive } from "../../formats/protocol/messages.ts";
import { DigestChain } from "../../formats/redolog/digest-chain.ts";
import { headerSize } from "../../formats/redolog/header.ts";
import { formatPosition, type LogIdentity, type Position } from "../../formats/redolog/position.ts";
import type { Config } from "../../services/config.ts";
import { readAt } from "../../services/files.ts";
import { keptLinksOf } from "../../services/redolog/digests.ts";
import { endOfLog, findLog, listArchive, type OpenLog } from "../../services/redolog/open-log.ts";
import { Wake } from "../../services/wake.ts";
import { comparePrefix } from "./compare-prefix.ts";
import { followLog } from "./follow-log.ts";
import { HeldLogs } from "./held-logs.ts";
import { listenToMirror } from "./mirror-words.ts";
import { SentLog } from "./sent-log.ts";
import { StreamWriter } from "./stream-writer.ts";

/** How often the log is looked at when no file event came. */
const pollMs = 500;
/** Between the two renames of a rollover there is no redo.log; longer than this it is missing. */
const missingMs = 10_000;

export type StreamService = {
	readonly config: Config;
	/** number of the history that this server's logs belong to */
	readonly timeline: number;
	/** called with what the mirror says it has replayed, for retention */
	readonly onReplayed: (replayed: LogPosition) => void;
};

/**
 * Serves `stream` with a position: checks that the mirror's bytes are ours, then sends the redo log
 * from there, file after file, until the mirror is gone. Returns why it ended.
 */
export async function serveStream(
	request: StreamRequest,
	{ config, timeline, onReplayed }: StreamService,
	input: Readable,
	output: Writable,
): Promise<string> {
	const { settings, zimbra } = config;
	const ended = new AbortController();
	const { signal } = ended;
	output.once("error", (error) => ended.abort(error));
	output.once("close", () => ended.abort(new Error("the mirror has closed the stream")));
	const writer = new StreamWriter(output, request.compression);
	const send = async (message: FromLive) => {
		await writer.write(encodeFromLive(message), signal);
		await writer.flush(signal);
	};
	const words = listenToMirror(
		input,
		settings.link_timeout,
		({ replayed }) => replayed !== undefined && onReplayed(replayed),
		(reason) => ended.abort(reason),
	);
	using wake = new Wake([zimbra.redolog, zimbra.archive], pollMs);
	const beating = beat(config, send, signal);
	await using held = new HeldLogs(zimbra, pollMs);
	try {
		const start = await findStart(request, config, timeline, await words.resume, signal);
		if ("differs" in start) {
			await send(start.differs);
			return `differs from ${formatPosition({ ...request.position, offset: start.differs.from })}`;
		}
		let { log, chain } = start;
		let fresh = start.fresh;
		for (;;) {
			await using _ = log;
			const { sequence, createTime } = log.header;
			const kept = keptLinksOf(config.base, log.header);
			await kept.prune();
			const header = await readAt(log.file, 0, headerSize);
			if (fresh) {
				const identity: LogIdentity = {
					serverId: log.header.serverId,
					sequence,
					createTime,
					timeline,
				};
				await send({ kind: "file", identity, header });
			} else {
				await send({ kind: "agreed", offset: chain.offset });
			}
			const sent = await SentLog.at(log, chain, kept);
			await followLog(sent, fresh ? header : undefined, {
				zimbra,
				writer,
				wake,
				signal,
			});
			log = await findNext(config, sequence, held, wake, signal);
			chain = new DigestChain();
			fresh = true;
		}
	} catch (error) {
		if (error instanceof Refusal) {
			const { code, message, hint } = error;
			await send({ kind: "refusal", code, message, hint }).catch(() => undefined);
			return `refused: ${message}`;
		}
		if (signal.aborted) return String(signal.reason?.message ?? signal.reason);
		throw error;
	} finally {
		ended.abort();
		await beating;
	}
}

type Start = { readonly log: OpenLog; readonly chain: DigestChain; readonly fresh: boolean };

async function findStart(
	{ position }: StreamRequest,
	config: Config,
	timeline: number,
	resume: { links: readonly Buffer[]; digest: Buffer; previousHeader: Buffer },
	signal: AbortSignal,
): Promise<Start | { differs: Extract<FromLive, { kind: "differs" }> }> {
	if (position.timeline !== timeline) {
		throw divergence(
			`the mirror follows timeline ${position.timeline}, the live server is on ${timeline}`,
		);
	}
	const log = await findNamed(config, position);
	if (log === undefined) throw await explainMissing(config, position);
	try {
		if (log.header.serverId !== position.serverId) {
			throw divergence(
				`the mirror's log is of server ${position.serverId}, this one's of ${log.header.serverId}`,
			);
		}
		if (position.offset === 0) {
			await checkPrevious(config, position.sequence - 1, resume.previousHeader);
			return { log, chain: new DigestChain(), fresh: true };
		}
		const mirror = { offset: position.offset, links: resume.links, digest: resume.digest };
		const result = await comparePrefix(log, mirror, keptLinksOf(config.base, log.header), signal);
		if (result.agreed) return { log, chain: result.chain, fresh: false };
		await log.file.close();
		const { from, size, bytes } = result;
		return { differs: { kind: "differs", from, size, bytes } };
	} catch (error) {
		await log.file.close().catch(() => undefined);
		throw error;
	}
}

/**
 * The log that a position names. A mirror that asks for the next one knows its number only. While there
 * is no redo.log, between the two renames of a rollover, what bears that number in the archive or in a
 * backup is an old one, from before Zimbra began its numbers again.
 */
async function findNamed(
	{ zimbra }: Config,
	{ sequence, createTime }: LogPosition,
): Promise<OpenLog | undefined> {
	if (createTime === 0 && (await endOfLog(zimbra)) === undefined) return undefined;
	return await findLog(zimbra, sequence, createTime);
}

/** The mirror asks for a new file: the one before it must be the same here, if it is still here. */
async function checkPrevious(config: Config, sequence: number, header: Buffer): Promise<void> {
	if (header.length !== headerSize) return;
	const previous = await findLog(config.zimbra, sequence, 0);
	if (previous === undefined) return;
	await using log = previous;
	if ((await readAt(log.file, 0, headerSize)).equals(header)) return;
	throw divergence(`redo log ${sequence} of the mirror is not the one of the live server`);
}

async function explainMissing(config: Config, position: LogPosition): Promise<Refusal> {
	const { sequence } = position;
	const newest = (await endOfLog(config.zimbra))?.header.sequence;
	if (newest === undefined) {
		// Perhaps in the middle of a rollover, perhaps Zimbra has never run: not for good, in any case.
		throw new Error(`${config.zimbra.currentLog} is not there`);
	}
	const other = await findLog(config.zimbra, sequence, 0);
	if (other !== undefined) {
		await other.file.close();
		return divergence(
			`redo log ${sequence} of the mirror was created at ${new Date(position.createTime).toISOString()}, the live server's at ${new Date(other.header.createTime).toISOString()}`,
		);
	}
	if (newest < sequence) {
		return new Refusal(
			"history-ends",
			`the mirror asks for redo log ${sequence}, but the live server has only come to ${newest}`,
			"the live server's redo log began anew, or it is not the server that this mirror followed: docs/runbooks.md, divergence",
		);
	}
	return await gap(config, sequence, newest);
}

async function gap(config: Config, wanted: number, newest: number): Promise<Refusal> {
	const there = (await listArchive(config.zimbra)).map(({ sequence }) => sequence);
	const first = there.find((sequence) => sequence > wanted) ?? newest;
	const gone = first - 1 > wanted ? `${wanted} to ${first - 1}` : String(wanted);
	return new Refusal(
		"archive-gone",
		`redo log ${gone} is gone from ${config.zimbra.archive} and from ${config.zimbra.backup}; the next one there is ${first}`,
		"put the missing logs back into redolog/archive of the live server, or make a new initial copy: docs/runbooks.md, gap",
	);
}

const divergence = (message: string): Refusal =>
	new Refusal("divergence", message, "nothing was changed; docs/runbooks.md, divergence");

/** The log after one that has ended, as soon as it is there. */
async function findNext(
	config: Config,
	sequence: number,
	held: HeldLogs,
	wake: Wake,
	signal: AbortSignal,
): Promise<OpenLog> {
	const deadline = performance.now() + missingMs;
	for (;;) {
		// In the moment of a rollover nothing tells which log is the next one; see findNamed.
		const newest = (await endOfLog(config.zimbra))?.header.sequence;
		const known = newest !== undefined && newest > sequence;
		const next = await held.take(sequence + 1);
		const log = next ?? (known ? await findLog(config.zimbra, sequence + 1, 0) : undefined);
		if (log !== undefined) return log;
		if (known) throw await gap(config, sequence + 1, newest);
		if (newest !== undefined && performance.now() > deadline) {
			throw new Refusal(
				"history-ends",
				`after redo log ${sequence} the live server began again at ${newest}`,
				"its redo.log was removed; the mirror needs a new initial copy: docs/runbooks.md, gap",
			);
		}
		await wake.wait(signal);
		signal.throwIfAborted();
	}
}

/**
 * Says every heartbeat where the live log ends; the first time at once. One at a time: while the
 * mirror is slow, they must not pile up.
 */
async function beat(
	{ zimbra, settings }: Config,
	send: (message: FromLive) => Promise<void>,
	signal: AbortSignal,
): Promise<void> {
	let last: Position | undefined;
	while (!signal.aborted) {
		// In the moment of a rollover there is no redo.log; what was true before it serves.
		const end = await endOfLog(zimbra).catch(() => undefined);
		if (end !== undefined) last = { sequence: end.header.sequence, offset: end.size };
		// A frame that cannot be sent has ended the stream already; that is told by the signal.
		if (last !== undefined) {
			const heartbeat = { kind: "heartbeat", position: last, clock: Date.now() } as const;
			await send(heartbeat).catch(() => undefined);
		}
		const pauseMs = last === undefined ? 20 : settings.heartbeat_interval;
		await sleep(pauseMs, undefined, { signal }).catch(() => undefined);
	}
}
