import { setTimeout as sleep } from "node:timers/promises";
import { describe } from "../../errors.ts";
import { canonicalAddress } from "../../formats/address.ts";
import { explainNoAnswer, ownSentences } from "../../formats/protocol/answers.ts";
import type { Logger } from "../../services/log/logger.ts";
import type { PeerConfig } from "../../services/peer-config.ts";
import { ask, askedOf } from "../../services/ssh/connect.ts";
import type { RedoStatus } from "./redo-status.ts";
import { removeReplayedArchives } from "./replayed-archives.ts";
import { tellMove } from "./tell-move.ts";

const lookMs = 5000;
/** The live server keeps archives for days: it is enough to ask now and then. */
const betweenMs = 15 * 60_000;
/** Sooner than a trouble becomes critical: the link may just have been down. */
const afterFailureMs = 2 * 60_000;

/**
 * Removes archives that nobody needs any more, here and on the live server, after replay has left
 * another log behind. What may go there is decided there (invariant 5). Where incremental backups
 * take the archives away nothing is asked of the live server, as in the original.
 */
export async function keepRetention(
	config: PeerConfig,
	status: RedoStatus,
	log: Logger,
	signal: AbortSignal,
): Promise<void> {
	let done: { sequence: number; at: number } | undefined;
	let kept = false;
	let pauseMs = betweenMs;
	while (!signal.aborted) {
		await sleep(lookMs, undefined, { signal }).catch(() => undefined);
		const sequence = status.replayed?.sequence;
		if (signal.aborted || sequence === undefined) continue;
		done ??= { sequence, at: Number.NEGATIVE_INFINITY };
		// What is kept there for another mirror may be mended at any time.
		const due = sequence > done.sequence || kept;
		if (!due || performance.now() - done.at < pauseMs) continue;
		done = { sequence, at: performance.now() };
		try {
			await removeReplayedArchives(config, log);
			kept = await purgeLive(config, status, log, signal);
			pauseMs = betweenMs;
		} catch (error) {
			if (signal.aborted) return;
			// Tried again though no other log may come: what is not removed fills a disk.
			kept = true;
			pauseMs = afterFailureMs;
			const message = `old archives were not removed: ${describe(error)}`;
			status.problems.note("retention", { code: "trouble", message, critical: false });
			continue;
		}
		const { command_timeout } = config.settings;
		await tellMove(config, (request) => ask(config, request, signal, command_timeout), log).catch(
			(error: unknown) => {
				if (!signal.aborted)
					log.warn({ reason: describe(error) }, "the change of address was not told");
			},
		);
	}
}

/** Gives whether the live server keeps something for anybody but this mirror. */
async function purgeLive(
	config: PeerConfig,
	{ problems }: RedoStatus,
	log: Logger,
	signal: AbortSignal,
): Promise<boolean> {
	const timeoutMs = config.settings.command_timeout;
	const backups = await ask(config, "query_incremental", signal, timeoutMs);
	// A login shell may print before it.
	if (/true\s*$/.test(backups.stdout)) {
		problems.resolved("retention");
		return false;
	}
	const answer = await ask(config, "purge", signal, timeoutMs);
	const { exitCode, stderr } = answer;
	log.info({ exitCode }, "asked the live server to purge its archive");
	const sentences = ownSentences(stderr);
	if (exitCode !== 0) throw explainNoAnswer(askedOf(config), "purge", answer);
	// What it keeps for us goes when we have replayed it: that is catching up, and no trouble.
	const us = canonicalAddress(config.localAddress);
	const said = sentences.filter((line) => !line.includes(`mirror ${us} `));
	if (said.length === 0) {
		problems.resolved("retention");
		return false;
	}
	// A mirror that is no more would fill the live server's disk, and that ends the service of mail.
	const message = `${config.remoteAddress} keeps old redo logs: ${said.join("; ")}`;
	problems.note("retention", { code: "trouble", message, critical: false });
	return true;
}
