import { type FileHandle, open } from "node:fs/promises";
import { Refusal, type RefusalCode } from "../../../errors.ts";
import type { FromLive, LogPosition } from "../../../formats/protocol/messages.ts";
import { chainStep } from "../../../formats/redolog/digest-chain.ts";
import { formatPosition, type Position } from "../../../formats/redolog/position.ts";
import type { Config } from "../../../services/config.ts";
import { readAt } from "../../../services/files.ts";
import type { Logger } from "../../../services/log/logger.ts";
import type { PeerConfig } from "../../../services/peer-config.ts";
import { keptLinksOf } from "../../../services/redolog/digests.ts";
import type { LiveStream, OpenStream } from "./live-stream.ts";
import type { LocalLog } from "./local-log.ts";

/** What it takes to ask the live server. */
export type Asking = {
	readonly config: PeerConfig;
	readonly log: Logger;
	readonly signal: AbortSignal;
	readonly open: OpenStream;
};

/** The live server's word on what the mirror has. */
export type Answer = Exclude<FromLive, { kind: "heartbeat" }>;

/** Asks the live server for what comes after the local log; nothing is changed by that. */
export async function request(
	{ config, log, signal, open: openStream }: Asking,
	local: LocalLog,
): Promise<LiveStream> {
	const isOpen = local.kind === "open";
	const position: LogPosition = { ...local.identity, offset: isOpen ? local.chain.offset : 0 };
	const at = formatPosition(position);
	log.debug({ position: at, peer: config.remoteAddress }, "asking for the redo log");
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

/** Waits for the answer; heartbeats come before it while the live server hashes. */
export async function firstAnswer(
	stream: LiveStream,
	{ settings }: Config,
	onHeartbeat?: (position: Position, clock: number) => void,
): Promise<Answer> {
	const alive = setInterval(() => {
		stream.send({ kind: "progress", flushed: undefined, replayed: undefined });
	}, settings.heartbeat_interval);
	try {
		for (;;) {
			const message = await stream.next();
			if (message.kind !== "heartbeat") return message;
			onHeartbeat?.(message.position, message.clock);
		}
	} finally {
		clearInterval(alive);
	}
}

/** Asks about a local log, takes the first answer and nothing more. */
export async function askAbout(asking: Asking, local: LocalLog): Promise<Answer> {
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
	const at = await firstDifference(file, local.chain.offset, differs);
	if (at === differs.from + chainStep) {
		await keptLinksOf(config.base, local.identity).forget();
		throw new Error(
			`the digests that were kept of ${config.zimbra.currentLog} are not those of its bytes; they are made anew`,
		);
	}
	return at;
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
	"not-a-file",
]);

/** A refusal that came over the wire, as an error of our own. */
export function refusalOf({
	code,
	message,
	hint,
}: Extract<FromLive, { kind: "refusal" }>): Refusal {
	const known = knownCodes.has(code) ? (code as RefusalCode) : "bad-request";
	return new Refusal(known, `the live server says: ${message}`, hint);
}
