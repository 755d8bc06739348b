import { describe, Refusal } from "../../errors.ts";
import type { LogPosition } from "../../formats/protocol/messages.ts";
import { isThere } from "../../services/files.ts";
import type { Logger } from "../../services/log/logger.ts";
import type { PeerConfig } from "../../services/peer-config.ts";
import { publish } from "../../services/publish.ts";
import { dropSavedLogs } from "../../services/redolog/saved-logs.ts";
import { readRole } from "../../services/role.ts";
import { keepTrying } from "../keep-trying.ts";
import { longestPause } from "../reconnect.ts";
import { regularly } from "../regularly.ts";
import { type OpenStream, openStream } from "./receiver/live-stream.ts";
import { foreignLog } from "./receiver/local-log.ts";
import { type ReceiveOptions, receiveOnce } from "./receiver/receive.ts";
import type { ReceiverEvents } from "./receiver/receiver.ts";
import { RedoStatus } from "./redo-status.ts";
import { makeReplayer } from "./replayer/loop.ts";
import { replayerParts } from "./replayer/parts.ts";
import { establishReplayed } from "./replayer/position.ts";
import { keepRetention } from "./retention.ts";
import { SettledPosition } from "./settled.ts";
import { describeUnreplayed, findUnreplayed, notReplayed } from "./unreplayed.ts";
import { watchCoverage } from "./watch-coverage.ts";
import { watchLag } from "./watch-lag.ts";
import { watchRoom } from "./watch-room.ts";
import { mustWithdraw } from "./withdrawals.ts";

const publishMs = 1000;
const lookForStopMs = 250;

/**
 * The redo loop of the mirror: receives the redo log as it is written and replays it, until the
 * signal aborts or status/live_sync.stop appears. Throws a Refusal where it must withdraw.
 */
export async function runRedoLoop(
	config: PeerConfig,
	log: Logger,
	outside: AbortSignal,
): Promise<void> {
	const ended = new AbortController();
	const signal = AbortSignal.any([outside, ended.signal]);
	const { timeline } = await readRole(config.base.role);
	await establishReplayed(config, timeline);
	const status = new RedoStatus(config.remoteAddress, 2 * config.settings.heartbeat_interval, log);
	const settled = new SettledPosition<LogPosition>(config.settings.replay_settle);
	const replayer = makeReplayer({
		...replayerParts(config, log),
		settled: () => settled.at(performance.now()),
		events: {
			onState: (state) => status.setReplay(state),
			onReplayed: (position) => status.setReplayed(position),
			onWait(holder) {
				const message = `replay waits for the lock, which is held by ${holder}`;
				if (holder === undefined) status.problems.resolved("lock");
				else status.problems.note("lock", { code: "trouble", message, critical: false });
			},
			onProblem(problem) {
				if (problem === undefined) status.problems.resolved("replay");
				else status.problems.note("replay", problem);
			},
		},
	});
	const events: ReceiverEvents = {
		onFlushed(position) {
			status.setFlushed(position);
			settled.flushed(position, performance.now());
		},
		onVerified: (name) => status.setVerified(name),
		async onCut(identity, offset, compared) {
			// A sender of 2.0.0 told a cut of more than a MiB too low. What was executed here is then taken
			// for lost there, so both sides compare first.
			if (!compared && (await replayer.reaches(identity, offset))) {
				throw new Error(
					`the live server says that it has cut redo log ${identity.sequence} at ${offset}, below what was replayed here; it is asked again, with digests`,
				);
			}
			settled.cut({ ...identity, offset });
			await replayer.cut(identity, offset, signal);
		},
	};
	const open: OpenStream = (...asked) => openStream(config, log, ...asked);
	// To the very end: a replay run that is under way is let come to its own, which may take long.
	const gone = new AbortController();
	const publishing = regularly(publishMs, gone.signal, () =>
		publish(config.base.stateRedo, status.snapshot()),
	);
	const watching = regularly(lookForStopMs, ended.signal, async () => {
		if (await isThere(config.base.stopFile)) ended.abort(new Error("stop was asked"));
	});
	const tasks = [
		receive({ config, timeline, status, events, log, signal, open }),
		replayer.keepReplaying(signal),
		watchCoverage(config, status, signal),
		watchRoom(config, status, signal),
		watchLag(config.settings, status, signal),
		keepRetention(config, status, log, signal),
	];
	try {
		// The first to end, well or badly, ends the others.
		await Promise.race(tasks);
		ended.abort(new Error("another part of the loop has ended"));
		await Promise.all(tasks);
	} catch (error) {
		status.problems.report("loop", error, true);
		ended.abort();
		await Promise.allSettled(tasks);
		await keepUnreplayed(config, error, status, log);
		throw error;
	} finally {
		ended.abort();
		await Promise.allSettled([...tasks, watching]);
		gone.abort();
		await publishing;
		// On a full disk, say: why the loop ends counts more.
		await publish(config.base.stateRedo, status.snapshot()).catch(() => undefined);
	}
}

async function receive(
	options: Omit<ReceiveOptions, "healthy"> & { readonly status: RedoStatus },
): Promise<void> {
	const { config, status, log, signal } = options;
	try {
		await keepTrying((healthy) => receiveOnce({ ...options, healthy }), {
			signal,
			longestMs: (problem) => longestPause(problem, config.settings),
			isFinal: mustWithdraw,
			onRetry(problem, delayMs) {
				if (problem !== undefined) status.problems.report("link", problem);
				status.setPhase("waiting");
				log.debug({ delayMs: Math.round(delayMs) }, "trying again");
			},
		});
	} finally {
		// A replay run may go on for long after it.
		status.setPhase("stopped");
	}
}

/** Zimbra was started here: what it will not find in its store is kept at once, and told. */
async function keepUnreplayed(
	config: PeerConfig,
	error: unknown,
	status: RedoStatus,
	log: Logger,
): Promise<void> {
	if (!(error instanceof Refusal)) return;
	try {
		// A log that a disk has damaged is altered, too.
		const started =
			error.code === "mailboxd-up" ||
			(error.code === "log-altered" && (await foreignLog(config)) !== undefined);
		if (!started) return;
		const found = await findUnreplayed(config);
		const what = found && describeUnreplayed(found);
		if (what !== undefined) status.problems.report("unreplayed", notReplayed(config, what));
		else await dropSavedLogs(config);
	} catch (problem) {
		log.error({ reason: describe(problem) }, "what is not in the message store could not be kept");
	}
}
