import { Refusal } from "../../errors.ts";
import { withoutReplayOf } from "../../formats/replay/behind.ts";
import { isFollowing, type Role } from "../../formats/role.ts";
import {
	adoptAsCopy,
	describeOwnHistory,
	findOwnHistory,
	isContained,
	setAsideOwnHistory,
} from "../../loops/redo/own-history.ts";
import { askAbout, findDifference, ownHistory } from "../../loops/redo/receiver/ask.ts";
import { type OpenStream, openStream } from "../../loops/redo/receiver/live-stream.ts";
import { inspectLocalLog, type LocalLog } from "../../loops/redo/receiver/local-log.ts";
import { cleanEnd } from "../../loops/redo/replayer/initial-position.ts";
import { writeReplayed } from "../../loops/redo/replayer/position.ts";
import { findUnreplayed } from "../../loops/redo/unreplayed.ts";
import type { Logger } from "../../services/log/logger.ts";
import type { PeerConfig } from "../../services/peer-config.ts";

/** What is done about history of our own, beside describing it; `look` changes nothing at all. */
export type OwnHistory = "look" | "refuse" | "set aside";

/**
 * Whether the live server's history contains ours: asks for the stream, looks at the answer, takes
 * nothing of it. Undefined where it does once this server follows from its own end, as `start` has it.
 * Throws a Refusal: divergence, log-altered, archive-gone, history-ends, no-initial-copy.
 */
export async function checkHistory(
	config: PeerConfig,
	role: Role,
	own: OwnHistory,
	log: Logger,
	signal: AbortSignal,
): Promise<LocalLog | undefined> {
	const { timeline } = role;
	const open: OpenStream = (...asked) => openStream(config, log, ...asked);
	const asking = { config, log, signal, open };
	const contained = async () => {
		const local = await inspectLocalLog(config, timeline, signal);
		const answer = await askAbout(asking, local);
		if (answer.kind === "refusal") {
			const { code } = answer;
			throw new Refusal(
				code === "archive-gone" || code === "history-ends" ? code : "divergence",
				`${config.remoteAddress} says: ${answer.message}`,
				answer.hint,
			);
		}
		if (answer.kind !== "differs" || local.kind !== "open") return local;
		const offset = await findDifference(config, local, answer);
		// What was received and is no longer there, the live server has cut; the loop cuts it here too.
		if (offset < local.from) throw ownHistory(config, local, offset);
		return local;
	};
	try {
		return await contained();
	} catch (error) {
		if (!(error instanceof Refusal) || !ownHistoryCodes.has(error.code)) throw error;
		const found = await findOwnHistory(asking, timeline);
		const what = describeOwnHistory(found);
		// Zimbra was live here since this server was a mirror, and its roles change back.
		if (isContained(found) && !isFollowing(role)) {
			if (own === "look") {
				await cleanEnd(config.zimbra, timeline);
				return undefined;
			}
			await adoptAsCopy(config, timeline);
			log.info({ what }, "this server was live since it was a mirror; it follows from its own end");
			return await contained();
		}
		// How far the store had come is of the time before that: replayed from there, it would do all again.
		if (isContained(found)) {
			throw new Refusal(
				error.code,
				`${error.message}; ${what}: Zimbra was started here without live-syncd stop, and the live server has all that it did`,
				"live-syncd stop, with --accept-loss where it tells of a loss for which nothing more can be done; then live-syncd start",
			);
		}
		if (own !== "set aside") throw new Refusal(error.code, `${error.message}; ${what}`, error.hint);
		if (isFollowing(role)) await leaveOutRecovered(config);
		const directory = await setAsideOwnHistory(config, found);
		log.warn(
			{ directory, operations: found.operations },
			`history of our own was put aside: ${what}`,
		);
		process.stdout.write(`History of our own was put aside in ${directory}: ${what}\n`);
		return await contained();
	}
}

/**
 * Zimbra's start on this mirror has executed some of what was received and not replayed: replay must not
 * do it again. Where that cannot be told, all that was received is replayed.
 */
async function leaveOutRecovered(config: PeerConfig): Promise<void> {
	try {
		const found = await findUnreplayed(config);
		if (found !== undefined) {
			await writeReplayed(config, withoutReplayOf(found.from, found.recovered));
		}
	} catch (error) {
		if (!(error instanceof Refusal)) throw error;
	}
}

const ownHistoryCodes: ReadonlySet<string> = new Set(["divergence", "history-ends", "log-altered"]);
