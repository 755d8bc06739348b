import type { FromLive, LogPosition } from "../../../formats/protocol/messages.ts";
import { comparePositions, type Position } from "../../../formats/redolog/position.ts";
import type { LinkPhase } from "../../../formats/state.ts";
import type { Config } from "../../../services/config.ts";
import { keptLinksOf } from "../../../services/redolog/digests.ts";
import { ProvenanceFile } from "../../../services/redolog/provenance.ts";
import { ReceivingFloor } from "../../../services/room.ts";
import type { Problems } from "../../problems.ts";
import { type Asking, findDifference, firstAnswer, ownHistory, refusalOf, request } from "./ask.ts";
import { dropLeftover, inspectLocalLog, type LocalLog, saveTail } from "./local-log.ts";
import { ReceivedLog } from "./received-log.ts";
import { Receiver, type ReceiverEvents } from "./receiver.ts";

/** Where receiving tells how it goes, and what it tells the live server in turn. */
export type LinkStatus = {
	readonly flushed: LogPosition | undefined;
	readonly replayed: LogPosition | undefined;
	readonly problems: Problems<string>;
	setPhase(phase: LinkPhase): void;
	setReceived(position: Position | undefined): void;
	/** @param clock the live server's, ms since the epoch */
	heard(position: Position, clock: number): void;
};

export type ReceiveOptions = Asking & {
	readonly timeline: number;
	readonly status: LinkStatus;
	readonly events: ReceiverEvents;
	/** called when something has come over this connection and is on disk, or nothing is missing for a while */
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
	// Before the live server is asked to send what there is no room for.
	await new ReceivingFloor(config).demand(0);
	await using stream = await request(options, local);
	const answer = await firstAnswer(stream, config, (...heard) => status.heard(...heard));
	if (answer.kind === "refusal") throw refusalOf(answer);
	await dropLeftover(config, local);
	await using provenance = await ProvenanceFile.open(config.zimbra.mirrorMarker);
	if (answer.kind === "differs") return await cutHere(options, local, answer, provenance);

	const { events } = options;
	const prove = () => {
		status.problems.resolved("link");
		options.healthy();
	};
	await using receiver = new Receiver(config, local, provenance, events, log, prove);
	let takingSince: number | undefined;
	const progress = setInterval(() => {
		tellWhetherStuck(options, takingSince);
		status.setReceived(receiver.received);
		stream.send({ kind: "progress", flushed: status.flushed, replayed: status.replayed });
	}, config.settings.heartbeat_interval);
	try {
		await receiver.take(answer);
		const provenAt = performance.now() + quietMs(config);
		for (;;) {
			const message = await stream.next();
			if (message.kind === "heartbeat") {
				status.heard(message.position, message.clock);
				if (performance.now() >= provenAt && isHere(status, message.position)) prove();
			}
			if (message.kind === "refusal") throw refusalOf(message);
			takingSince = performance.now();
			await receiver.take(message);
			takingSince = undefined;
		}
	} finally {
		clearInterval(progress);
		status.problems.resolved("writing");
		await receiver.rest().catch((error: unknown) => log.warn({ error: String(error) }, "at rest"));
	}
}

/**
 * A live server that has nothing to send proves nothing at once: only a connection that outlives what ends a
 * dead one works.
 */
const quietMs = ({ settings }: Config): number =>
	settings.link_timeout + 3 * settings.heartbeat_interval;

const isHere = ({ flushed }: LinkStatus, liveEnd: Position): boolean =>
	flushed !== undefined && comparePositions(flushed, liveEnd) >= 0;

/** While one message is dealt with nothing else is heard; what looks like a quiet link may be that. */
function tellWhetherStuck({ config, status }: ReceiveOptions, since: number | undefined): void {
	const { link_timeout } = config.settings;
	if (since === undefined || performance.now() - since < link_timeout) {
		status.problems.resolved("writing");
		return;
	}
	const seconds = link_timeout / 1000;
	status.problems.note("writing", {
		code: "trouble",
		message: `for more than ${seconds} s nothing could be written to ${config.zimbra.currentLog}, though the live server has sent more: the disk is slow, or a cut waits for the lock`,
		critical: false,
	});
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
	await events.onCut(identity, offset, true);
	await received.truncate(offset);
	await received.rest();
	events.onFlushed({ ...identity, offset });
	log.warn(
		{ log: identity.sequence, offset, saved },
		"the live server has cut its redo log while we were away, and so did we",
	);
}
