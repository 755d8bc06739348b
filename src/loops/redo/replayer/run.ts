import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { LogFindings } from "../../../formats/replay/mailbox-log.ts";
import { judgeRun, type RunFacts, type RunOutcome } from "../../../formats/replay/outcome.ts";
import type { ReplayedPosition } from "../../../formats/replay/replayed-position.ts";
import type { RunRecord } from "../../../formats/replay/run-record.ts";
import type { Config } from "../../../services/config.ts";
import { readIfThere, removeDurably } from "../../../services/files.ts";
import type { HeldLock } from "../../../services/lock.ts";
import type { Logger } from "../../../services/log/logger.ts";
import { bootId, justStartedMs, type ProcessIdentity } from "../../../services/processes.ts";
import type { Run } from "../../../services/run.ts";
import { makeDatabase, sameDatabase } from "../../../services/zimbra/database.ts";
import { makeDurable } from "../../../services/zimbra/durability.ts";
import {
	findingsIn,
	type LogMark,
	markMailboxLog,
	readMailboxLog,
} from "../../../services/zimbra/mailbox-log.ts";
import { readRunRecord, writeRunRecord } from "../../../services/zimbra/run-record.ts";
import {
	clearPidFile,
	livingPlayers,
	outlast,
	play,
	readEvidence,
} from "../../../services/zimbra/zmplayredo.ts";
import { removeRun } from "./sweep.ts";

export type RunParts = { readonly config: Config; readonly run: Run; readonly log: Logger };

/** A run that is ready: its files are written. */
export type PreparedRun = {
	readonly token: string;
	readonly from: ReplayedPosition;
	readonly next: ReplayedPosition;
	readonly files: readonly { readonly path: string; readonly mayDrop: boolean }[];
	readonly operations: number;
	/** 0 in a first run; else the run goes carefully: one thread */
	readonly unknownEnds: number;
	readonly report: string | undefined;
};

/** What a run came to. A run that is "done" is on disk as well. */
export type EndedRun = { readonly record: RunRecord; readonly outcome: RunOutcome };

export const newToken = (): string => randomUUID();
const runDirectory = ({ base }: Config, token: string): string => join(base.slices, token);

/**
 * Runs zmplayredo over the files and judges it. The record is on disk before it starts and stays: who
 * called moves the position first, and then removes it.
 */
export async function execute(
	parts: RunParts,
	prepared: PreparedRun,
	lock: HeldLock,
): Promise<EndedRun> {
	const { config, run } = parts;
	const { token, from, unknownEnds } = prepared;
	const directory = runDirectory(config, token);
	const database = makeDatabase({ run, config });
	await clearPidFile(config, parts.log);
	let record: RunRecord = {
		version: 1,
		token,
		directory,
		bootId: bootId(),
		startedAt: Date.now(),
		phase: "running",
		from: { ...from.log, offset: from.offset },
		next: prepared.next,
		files: prepared.files,
		operations: prepared.operations,
		database: await database.process(),
		log: await markMailboxLog(config.zimbra.mailboxLog),
		processes: [],
		unknownEnds,
		report: prepared.report,
	};
	// Durable before the first process: whoever finds the store moved must find this too.
	await writeRunRecord(config, record);
	let recording: Promise<void> = Promise.resolve();
	const { settings } = config;
	const end = await play(
		{ run, config },
		{
			token,
			directory,
			files: prepared.files.map(({ path }) => path),
			threads: unknownEnds > 0 ? 1 : settings.replay_threads,
			stopOnError: settings.replay_stop_on_error,
			onProcess(process) {
				recording = recording.then(async () => {
					await lock.addChild(process);
					record = { ...record, processes: [...record.processes, process] };
					await writeRunRecord(config, record);
				});
				return recording;
			},
		},
	);
	await recording.catch(() => undefined);
	const ended =
		end === "no progress"
			? whyEnded(config)
			: end === "not recorded"
				? `its processes could not be recorded in ${config.base.replayRun}, so it was ended`
				: undefined;
	return { record, outcome: await judge(parts, record, ended) };
}

/** What to say of a run that was ended, beside what it has left behind. */
const whyEnded = ({ settings }: Config): string =>
	`it made no progress for ${settings.replay_timeout / 1000} s (replay_timeout) and was ended`;

/**
 * Waits for the processes of a run whose loop has died: nobody may run beside them. One that makes no
 * progress is ended. Gives the reason where it was.
 */
async function outliveRun(
	{ config, log }: RunParts,
	record: RunRecord,
	signal: AbortSignal,
	onWait: (left: readonly ProcessIdentity[]) => Promise<void>,
): Promise<string | undefined> {
	// A loop that died in the moment of the start may have left a child that has no name yet.
	await sleep(justStartedMs, undefined, { signal });
	const left = livingPlayers(record);
	if (left.length === 0) return undefined;
	log.warn(
		{ pids: left.map(({ pid }) => pid), since: new Date(record.startedAt).toISOString() },
		"a replay run whose loop has died still works; waiting for its end",
	);
	await onWait(left);
	const end = await outlast(config, record, signal);
	if (end === "by itself") return undefined;
	const why = whyEnded(config);
	log.error({ pids: left.map(({ pid }) => pid) }, `the replay run was ended: ${why}`);
	return why;
}

/**
 * Sees to the end of a run that keeps the lock of a dead loop: only who replays next looks after it,
 * and cannot take the lock before it is gone.
 */
export async function outliveOrphan(
	parts: RunParts,
	signal: AbortSignal,
	onWait: () => void,
): Promise<void> {
	const record = await readRunRecord(parts.config);
	if (record?.phase === "running") await outliveRun(parts, record, signal, async () => onWait());
}

/**
 * Learns how a run ended whose loop has died, from what it left, once its processes are gone. The
 * result is as good as if the loop had lived.
 */
export async function adopt(
	parts: RunParts,
	record: RunRecord,
	lock: HeldLock,
	signal: AbortSignal,
): Promise<EndedRun> {
	const ended = await outliveRun(parts, record, signal, async (left) => {
		for (const each of left) await lock.addChild(each);
	});
	return { record, outcome: await judge(parts, record, ended) };
}

/**
 * Puts on disk what the run did, then judges it: a database that died before its log was written has
 * lost what the run committed.
 * Throws where nothing can be put on disk; the record stays, and the run is judged again later.
 */
async function judge(
	{ config, run }: RunParts,
	record: RunRecord,
	ended: string | undefined,
): Promise<RunOutcome> {
	const directory = runDirectory(config, record.token);
	const database = makeDatabase({ run, config });
	const facts: RunFacts = {
		files: record.files,
		evidence: await readEvidence(directory),
		log: await findings(config, directory, record.log),
		sameBoot: record.bootId === bootId(),
		sameDatabase: true,
		ended,
	};
	const outcome = judgeRun(facts);
	if (outcome.kind !== "done") return outcome;
	if (!sameDatabase(record.database, await database.process())) {
		return judgeRun({ ...facts, sameDatabase: false });
	}
	await makeDurable({ run, config }, database);
	return judgeRun({
		...facts,
		sameDatabase: sameDatabase(record.database, await database.process()),
	});
}

/**
 * Without conf/log4j.properties zmplayredo logs to its standard output and never makes mailbox.log.
 * Source: zm-mailbox, com.zimbra.common.util.ZimbraLog.toolSetupLog4j.
 */
async function findings(
	{ zimbra }: Config,
	directory: string,
	mark: LogMark,
): Promise<LogFindings | undefined> {
	const found = await readMailboxLog(zimbra.mailboxLog, mark);
	if (found !== undefined || mark.current !== undefined) return found;
	const unset =
		(await readIfThere(zimbra.mailboxLog)) === undefined &&
		(await readIfThere(join(zimbra.home, "conf/log4j.properties"))) === undefined;
	return unset ? await findingsIn(join(directory, "stdout")) : undefined;
}

/** After the position has moved, or where nothing was executed. */
export async function forgetRun(config: Config, record: RunRecord): Promise<void> {
	await removeDurably(config.base.replayRun);
	await removeRun(config, record.token);
}
