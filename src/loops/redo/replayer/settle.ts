import { storeIncomingBlob } from "../../../formats/redolog/layouts.ts";
import { decide } from "../../../formats/replay/decision.ts";
import type { FailedOperation } from "../../../formats/replay/mailbox-log.ts";
import type { ReplayedPosition } from "../../../formats/replay/replayed-position.ts";
import type { RunRecord } from "../../../formats/replay/run-record.ts";
import type { ReplayRange } from "../../../formats/replay/scan.ts";
import type { Config } from "../../../services/config.ts";
import { writeRunRecord } from "../../../services/zimbra/run-record.ts";
import { forget, type KeptKind, keep, keptBack } from "./kept-operations.ts";
import { openFlushedLogs } from "./logs.ts";
import { writeReplayed } from "./position.ts";
import type { ReplayerParts, ReplayResult } from "./replayer.ts";
import { type EndedRun, forgetRun } from "./run.ts";

/** Does what follows from a run that has ended: moves the position, or leaves a record of why not. */
export async function settle(
	parts: ReplayerParts,
	from: ReplayedPosition,
	{ record, outcome }: EndedRun,
	idleAttempts: number,
): Promise<ReplayResult> {
	const { config, log } = parts;
	const { unknownEnds } = record;
	const decision = decide(outcome, { unknownEnds, idleAttempts });
	// What comes again is kept back again, under the name of that run.
	if (decision.kind !== "advance") await forget(config, record.token, keptBack);
	switch (decision.kind) {
		case "advance": {
			const failed = await keepFailed(parts, from, record, decision.failed);
			await writeReplayed(config, record.next);
			await forgetRun(config, record);
			const { log: identity, offset } = record.next;
			return {
				kind: "replayed",
				position: { ...identity, offset },
				operations: record.operations,
				failed,
				setAside: 0,
			};
		}
		case "retry":
			// Of the re-run nothing was executed: it is still to come.
			if (unknownEnds > 0) await writeRunRecord(config, { ...record, phase: "ended" });
			else await forgetRun(config, record);
			return decision;
		case "re-run": {
			const report = await nameAtRisk(parts, from, record);
			await writeRunRecord(config, {
				...record,
				phase: "ended",
				unknownEnds: unknownEnds + 1,
				report,
			});
			log.error(
				{ why: decision.why, operations: record.operations, named: report },
				"a replay run ended, and nobody knows what it executed; it is run once more, carefully",
			);
			return decision;
		}
		case "stop": {
			const report = record.report ?? (await nameAtRisk(parts, from, record));
			const stopped: RunRecord = { ...record, phase: "stopped", why: decision.why, report };
			await writeRunRecord(config, stopped);
			const result = stoppedResult(stopped, config.base);
			log.error({ hint: result.hint, named: report }, `replay has stopped: ${decision.why}`);
			return result;
		}
	}
}

export function stoppedResult(
	{ why = "", report, directory, startedAt }: RunRecord,
	{ replayRun, aside }: Config["base"],
): Extract<ReplayResult, { kind: "stopped" }> {
	const named = report === undefined ? "" : `; ${report} names the operations at risk`;
	const since = new Date(startedAt).toISOString();
	return {
		kind: "stopped",
		why,
		hint: `the redo log is received all the same. What the run said is in ${directory} (stdout, stderr), and in log/mailbox.log from ${since} on${named}. Mend the reason; then, to have it run once more: mv ${replayRun} ${aside}/; to be sure of the store, copy it anew: docs/runbooks.md, replay has stopped`,
	};
}

async function keepFailed(
	parts: ReplayerParts,
	from: ReplayedPosition,
	record: RunRecord,
	said: readonly FailedOperation[],
): Promise<number> {
	if (said.length === 0) return 0;
	const ids = new Set(said.map(({ transaction }) => transaction));
	await using range = await rangeOf(parts, from, record);
	const lot = await keep(parts.config, {
		kind: "failed",
		run: record.token,
		range,
		wanted: ({ id }) => ids.has(id),
		said,
	});
	parts.log.error(
		{ count: lot?.count, directory: lot?.directory, first: said[0]?.text },
		"operations failed in replay; they are kept, and not tried again by themselves",
	);
	return lot?.count ?? 0;
}

/** Names all that the run was given; stored blobs show nowhere and do no harm. */
export async function nameAtRisk(
	parts: ReplayerParts,
	from: ReplayedPosition,
	record: RunRecord,
): Promise<string | undefined> {
	await using range = await rangeOf(parts, from, record);
	const kind: KeptKind = "at risk";
	const lot = await keep(parts.config, {
		kind,
		run: record.token,
		range,
		wanted: ({ opcode, fate }) => opcode !== storeIncomingBlob && fate !== "not executable",
	});
	return lot?.directory;
}

/** The part of the log that the run was about. */
async function rangeOf(
	{ config }: ReplayerParts,
	from: ReplayedPosition,
	{ next }: RunRecord,
): Promise<ReplayRange & AsyncDisposable> {
	const opened = await openFlushedLogs(config, from);
	return {
		logs: opened.logs,
		from,
		to: { sequence: next.log.sequence, offset: next.offset },
		[Symbol.asyncDispose]: () => opened[Symbol.asyncDispose](),
	};
}
