import { type FileHandle, open } from "node:fs/promises";
import { Refusal, type RefusalCode } from "../../errors.ts";
import type { FromLive, LogPosition } from "../../formats/protocol/messages.ts";
import { formatPosition } from "../../formats/redolog/position.ts";
import type { Config } from "../../services/config.ts";
import { readAt } from "../../services/files.ts";
import type { Logger } from "../../services/log/logger.ts";
import { keptLinksOf } from "../../services/redolog/digests.ts";
import { ProvenanceFile } from "../../services/redolog/provenance.ts";
import type { LiveStream, OpenStream } from "./live-stream.ts";
import { dropLeftover, inspectLocalLog, type LocalLog, saveTail } from "./local-log.ts";
import { ReceivedLog } from "./received-log.ts";
import { Receiver, type ReceiverEvents } from "./receiver.ts";
import type { RedoStatus } from "./redo-status.ts";

export type ReceiveOptions = {
	readonly config: Config;
	readonly timeline: number;
	readonly status: RedoStatus;
	readonly events: ReceiverEvents;
	readonly log: Logger;
	readonly signal: AbortSignal;
	readonly open: OpenStream;
	/** called when the live server has accepted the position: the link works */
	readonly healthy: () => void;
};

/**
 * One connection: from the local redo log's end, until the link breaks or the signal aborts.
 * Throws a Refusal where it makes no sense to go on from here, and an Error where a new attempt does.
 */
export async function receiveOnce(options: ReceiveOptions): Promise<void> {
	const { config, timeline, status, log, signal } = options;
	status.setPhase("connecting");
	const local = await inspectLocalLog(config, timeline, signal);
	await using stream = await request(options, local);
	const answer = await firstAnswer(stream, config, status);
	if (answer.kind === "refusal") throw refusalOf(answer);
	await dropLeftover(config, local);
	await using provenance = await ProvenanceFile.open(config.zimbra.mirrorMarker);
	if (answer.kind === "differs") return await cutHere(options, local, answer, provenance);

	const { events } = options;
	await using receiver = new Receiver(config, local, provenance, events, log);
	let takingSince: number | undefined;
	const progress = setInterval(() => {
		tellWhetherStuck(options, takingSince);
		status.setReceived(receiver.received);
		stream.send({ kind: "progress", flushed: status.flushed, replayed: status.replayed });
	}, config.settings.heartbeat_interval);
	try {
		await receiver.take(answer);
		status.resolved("link");
		options.healthy();
		for (;;) {
			const message = await stream.next();
			if (message.kind === "heartbeat") status.heard(message.position, message.clock);
			if (message.kind === "refusal") throw refusalOf(message);
			takingSince = performance.now();
			await receiver.take(message);
			takingSince = undefined;
		}
	} finally {
		clearInterval(progress);
		status.resolved("writing");
		await receiver.rest().catch((error: unknown) => log.warn({ error: String(error) }, "at rest"));
	}
}

/** While one message is dealt with nothing else is heard; what looks like a quiet link may be that. */
function tellWhetherStuck({ config, status }: ReceiveOptions, since: number | undefined): void {
	const { link_timeout } = config.settings;
	if (since === undefined || performance.now() - since < link_timeout) {
		status.resolved("writing");
		return;
	}
	const seconds = link_timeout / 1000;
	status.note("writing", {
		code: "trouble",
		message: `for more than ${seconds} s nothing could be written to ${config.zimbra.currentLog}, though the live server has sent more: the disk is slow, or a cut waits for the lock`,
		critical: false,
	});
}

/** Asks the live server for what comes after the local log; nothing is changed by that. */
async function request(
	{
		config,
		log,
		signal,
		open: openStream,
	}: Pick<ReceiveOptions, "config" | "log" | "signal" | "open">,
	local: LocalLog,
): Promise<LiveStream> {
	const isOpen = local.kind === "open";
	const position: LogPosition = { ...local.identity, offset: isOpen ? local.chain.offset : 0 };
	const at = formatPosition(position);
	log.info({ position: at, peer: config.remoteAddress }, "asking for the redo log");
	return await openStream(
		{ position, mirror: config.localAddress, compression: "zstd" },
		{
			kind: "resume",
			links: isOpen ? local.chain.links : [],
			digest: isOpen ? local.chain.digest() : Buffer.alloc(0),
			previousHeader: isOpen ? Buffer.alloc(0) : local.previousHeader,
		},
		signal,
	);
}

/** The live server's word on what the mirror has; heartbeats come before it while it hashes. */
async function firstAnswer(
	stream: LiveStream,
	{ settings }: Config,
	status?: RedoStatus,
): Promise<Exclude<FromLive, { kind: "heartbeat" }>> {
	const alive = setInterval(() => {
		stream.send({ kind: "progress", flushed: undefined, replayed: undefined });
	}, settings.heartbeat_interval);
	try {
		for (;;) {
			const message = await stream.next();
			if (message.kind !== "heartbeat") return message;
			status?.heard(message.position, message.clock);
		}
	} finally {
		clearInterval(alive);
	}
}

/** Asks about a local log, takes the first answer and nothing more. */
export async function askAbout(
	asking: Pick<ReceiveOptions, "config" | "log" | "signal" | "open">,
	local: LocalLog,
): Promise<Exclude<FromLive, { kind: "heartbeat" }>> {
	await using stream = await request(asking, local);
	return await firstAnswer(stream, asking.config);
}

/**
 * Where exactly a local log and the live one part: the first byte that is not the same.
 * @param size bytes of the local log that count
 */
export async function firstDifference(
	file: FileHandle,
	size: number,
	{ from, bytes }: Extract<FromLive, { kind: "differs" }>,
): Promise<number> {
	const here = await readAt(file, from, Math.max(0, Math.min(size, from + bytes.length) - from));
	let same = 0;
	while (same < here.length && here[same] === bytes[same]) same++;
	return from + same;
}

/** The same, for redo.log. */
export async function findDifference(
	config: Config,
	local: Extract<LocalLog, { kind: "open" }>,
	differs: Extract<FromLive, { kind: "differs" }>,
): Promise<number> {
	await using file = await open(config.zimbra.currentLog, "r");
	return await firstDifference(file, local.chain.offset, differs);
}

/**
 * The live log is not a continuation of ours. What was received from it and is no longer there, it
 * has cut; what was not received is history of our own.
 */
async function cutHere(
	options: ReceiveOptions,
	local: LocalLog,
	differs: Extract<FromLive, { kind: "differs" }>,
	provenance: ProvenanceFile,
): Promise<void> {
	const { config, events, log } = options;
	if (local.kind !== "open") throw new Error("the live server compared a log that we do not have");
	const offset = await findDifference(config, local, differs);
	const { identity } = local;
	if (offset < local.from) throw ownHistory(config, local, offset);
	await using received = await ReceivedLog.resume(
		{ zimbra: config.zimbra, provenance },
		identity,
		local.chain,
		local.from,
		keptLinksOf(config.base, identity),
	);
	const saved = await saveTail(config, identity, offset, await received.readTail(offset));
	await events.onCut(identity, offset);
	await received.truncate(offset);
	await received.rest();
	events.onFlushed({ ...identity, offset });
	log.warn(
		{ log: identity.sequence, offset, saved },
		"the live server has cut its redo log while we were away, and so did we",
	);
}

/** What to say of a local log that is not a prefix of the live one. */
export function ownHistory(
	{ zimbra }: Config,
	local: Extract<LocalLog, { kind: "open" }>,
	offset: number,
): Refusal {
	const { sequence } = local.identity;
	const at = formatPosition({ sequence, offset });
	return new Refusal(
		"divergence",
		`${zimbra.currentLog} has history of its own: it agrees with the live server up to ${at}, and has ${local.chain.offset - offset} bytes behind that which never came from there`,
		"nothing was changed; docs/runbooks.md, divergence, tells how to look at it, and `live-syncd start --set-aside-own-history` puts it aside",
	);
}

const knownCodes: ReadonlySet<string> = new Set<RefusalCode>([
	"archive-gone",
	"divergence",
	"history-ends",
]);

function refusalOf({ code, message, hint }: Extract<FromLive, { kind: "refusal" }>): Refusal {
	const known = knownCodes.has(code) ? (code as RefusalCode) : "bad-request";
	return new Refusal(known, `the live server says: ${message}`, hint);
}
