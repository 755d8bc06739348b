import { rm, statfs } from "node:fs/promises";
import { join } from "node:path";
import { comparePositions, type Position } from "../../../formats/redolog/position.ts";
import { copiedItems, isCopy } from "../../../formats/replay/copied-items.ts";
import { replayLimit } from "../../../formats/replay/limit.ts";
import { committedOperations, planReplay, type ReplayPlan } from "../../../formats/replay/plan.ts";
import type { ReplayedPosition } from "../../../formats/replay/replayed-position.ts";
import { beginsAt, type RunRecord } from "../../../formats/replay/run-record.ts";
import type { ReplayRange } from "../../../formats/replay/scan.ts";
import type { CommittedOperation } from "../../../formats/replay/state.ts";
import { makeDirectory } from "../../../services/files.ts";
import type { HeldLock } from "../../../services/lock.ts";
import { pause, writeSlice } from "../../../services/redolog/slice-writer.ts";
import { accountExists } from "../../../services/zimbra/accounts.ts";
import { makeDatabase } from "../../../services/zimbra/database.ts";
import { readRunRecord } from "../../../services/zimbra/run-record.ts";
import { type KeptKind, keep } from "./kept-operations.ts";
import { openFlushedLogs } from "./logs.ts";
import { findConflict } from "./mailbox-conflict.ts";
import { readReplayed, writeReplayed } from "./position.ts";
import { type Said, sayRemarks, throwWhereLogsEnd } from "./remarks.ts";
import type { ReplayerParts, ReplayResult } from "./replayer.ts";
import { adopt, execute, forgetRun, newToken } from "./run.ts";
import { refuseBesideMailboxd, startServices } from "./services.ts";
import { settle, stoppedResult } from "./settle.ts";
import { removeRun, sweepRuns } from "./sweep.ts";

export type AttemptOptions = {
	readonly upTo: "settled" | "everything";
	readonly signal: AbortSignal;
	/** attempts in a row that executed nothing */
	readonly idleAttempts: number;
	readonly said: Said;
};

/** Archives in one run: bounds what is at risk when a run ends badly, and the length of its command. */
const mostLogs = 16;

/** One run at most, from looking at what an earlier one has left to moving the position. */
export async function attemptReplay(
	parts: ReplayerParts,
	lock: HeldLock,
	options: AttemptOptions,
): Promise<ReplayResult> {
	const { config } = parts;
	await refuseBesideMailboxd(parts);
	const position = await readReplayed(config);
	const left = await leftRun(parts, position);
	if (left?.phase === "stopped") return stoppedResult(left, config.base);
	if (left?.phase === "running") {
		await startServices(parts, options.signal); // or nothing could be put on disk
		const ended = await adopt(parts, left, lock, options.signal);
		return await settle(parts, position, ended, options.idleAttempts);
	}
	await sweepRuns(config, left);
	return await replayNext(parts, lock, position, left, options);
}

/** The record of a run that begins where replay stands; one of another position is over. */
async function leftRun(
	{ config }: ReplayerParts,
	position: ReplayedPosition,
): Promise<RunRecord | undefined> {
	const record = await readRunRecord(config);
	if (record === undefined || beginsAt(record, position)) return record;
	await forgetRun(config, record);
	return undefined;
}

async function replayNext(
	parts: ReplayerParts,
	lock: HeldLock,
	position: ReplayedPosition,
	again: RunRecord | undefined,
	options: AttemptOptions,
): Promise<ReplayResult> {
	const { config, log } = parts;
	const limit =
		again === undefined
			? replayLimit({
					upTo: options.upTo,
					settled: parts.settled(),
					coverage: await parts.coverage(),
				})
			: positionOf(again.next);
	if (typeof limit === "string" && limit !== "all") return upToDate(position);
	await using logs = await openFlushedLogs(config, position);
	const { logs: all } = logs;
	const last = all.findLast(({ identity }) => identity.sequence < position.log.sequence + mostLogs);
	const most =
		last === undefined ? undefined : { sequence: last.identity.sequence, offset: last.length };
	const to = limit === "all" ? most : lower(limit, most);
	const whole: ReplayRange = { logs: all, from: position, ...(to !== undefined && { to }) };
	const first = await planReplay(whole, pause);
	throwWhereLogsEnd(config, first, position);
	if (first.files.length === 0) {
		sayRemarks(log, first, all, options.said);
		return await moveWithoutRun(parts, position, first, again);
	}

	await startServices(parts, options.signal);
	const conflict = await findConflict(parts, first);
	if (conflict !== undefined) return conflict;
	const checked = options.upTo === "everything" || again !== undefined;
	const absent = checked ? await mailboxesWithoutAccount(parts, first, options.signal) : new Set();
	const copies = again === undefined ? new Set() : await copiesThatMayBeThere(parts, whole);
	const setAside = ({ mailboxId }: CommittedOperation) => absent.has(mailboxId);
	const leftOut = ({ id }: CommittedOperation) => copies.has(id);
	const leaveOut = (operation: CommittedOperation) => setAside(operation) || leftOut(operation);
	const range = { ...whole, leaveOut };
	const nothingLeftOut = absent.size === 0 && copies.size === 0;
	const plan = nothingLeftOut ? first : await planReplay(range, pause);
	sayRemarks(log, plan, all, options.said);

	const token = newToken();
	const files = await writeFiles(parts, plan, all, token);
	const lots: readonly [KeptKind, (operation: CommittedOperation) => boolean][] = [
		["set aside", setAside],
		["left out", leftOut],
	];
	let kept = 0;
	for (const [kind, wanted] of nothingLeftOut ? [] : lots) {
		const lot = await keep(config, { kind, run: token, range: whole, wanted });
		if (lot === undefined) continue;
		kept += lot.count;
		log.warn({ count: lot.count, directory: lot.directory }, `operations were kept back: ${kind}`);
	}
	const next = nextAfter(plan, again);
	if (files.length === 0) {
		// Before the position moves: what is there afterwards counts as a run that was never begun.
		await removeRun(config, token);
		await writeReplayed(config, next);
		if (again !== undefined) await forgetRun(config, again);
		return { kind: "replayed", position: located(next), operations: 0, failed: 0, setAside: kept };
	}
	const { executed, uncertain } = plan.counts;
	const ended = await execute(
		parts,
		{
			token,
			from: position,
			next,
			files,
			operations: executed + uncertain,
			unknownEnds: again?.unknownEnds ?? 0,
			report: again?.report,
		},
		lock,
	);
	const result = await settle(parts, position, ended, options.idleAttempts);
	return result.kind === "replayed" ? { ...result, setAside: kept } : result;
}

/** Nothing to execute, but records that need no execution may have been passed: aborts, open changes. */
async function moveWithoutRun(
	{ config }: ReplayerParts,
	position: ReplayedPosition,
	plan: ReplayPlan,
	again: RunRecord | undefined,
): Promise<ReplayResult> {
	if (again === undefined && sameEnd(plan.position, position)) return upToDate(position);
	const next = nextAfter(plan, again);
	await writeReplayed(config, next);
	if (again !== undefined) await forgetRun(config, again);
	return { kind: "passed", position: located(next) };
}

/** What a run of unknown end may have executed beyond a cut stays known. */
const nextAfter = (plan: ReplayPlan, again: RunRecord | undefined): ReplayedPosition =>
	again !== undefined && sameEnd(plan.position, again.next) ? again.next : plan.position;

/** The paths to give zmplayredo, slices written. */
async function writeFiles(
	{ config }: ReplayerParts,
	plan: ReplayPlan,
	logs: ReplayRange["logs"],
	token: string,
): Promise<{ path: string; mayDrop: boolean }[]> {
	const { mayDrop } = plan;
	const slices = plan.files.filter((file) => file.kind === "slice");
	const bytes = slices.reduce((sum, { header }) => sum + header.fileSize, 0);
	const directory = join(config.base.slices, token);
	await makeDirectory(directory);
	const { bavail, bsize } = await statfs(directory);
	if (bavail * bsize - bytes < config.settings.disk_floor) {
		await rm(directory, { recursive: true });
		throw new Error(
			`replay needs ${bytes} bytes in ${config.base.slices}, and that would leave less than disk_floor (${config.settings.disk_floor} bytes) free; make room there`,
		);
	}
	const files: { path: string; mayDrop: boolean }[] = [];
	for (const file of plan.files) {
		if (file.kind === "archive") {
			files.push({ path: join(config.zimbra.archive, file.log.name), mayDrop });
			continue;
		}
		const path = join(directory, `slice-${files.length + 1}-seq${file.header.sequence}.log`);
		await writeSlice(file, logs, path);
		files.push({ path, mayDrop });
	}
	return files;
}

/** Operations of a mailbox whose account is missing would be skipped, or go to another mailbox. */
async function mailboxesWithoutAccount(
	parts: ReplayerParts,
	plan: ReplayPlan,
	signal: AbortSignal,
): Promise<Set<number>> {
	const coverage = await parts.coverage();
	const covered =
		coverage === "all" ||
		(coverage !== undefined && comparePositions(positionOf(plan.position), coverage) <= 0);
	if (covered) return new Set();
	const absent = new Set<number>();
	for (const { mailboxId, accountId } of plan.newMailboxes) {
		if (await accountExists(parts, accountId, signal)) continue;
		absent.add(mailboxId);
		parts.log.error(
			{ mailboxId, accountId },
			"this account is not in the local LDAP directory; the operations of its mailbox are set aside",
		);
	}
	return absent;
}

/** Copies of the range whose new items are there, or may be: executed again, they lose their blob. */
async function copiesThatMayBeThere(
	parts: ReplayerParts,
	range: ReplayRange,
): Promise<Set<string>> {
	const database = makeDatabase(parts);
	const left = new Set<string>();
	let passed = 0;
	for (const operation of committedOperations(range)) {
		if (++passed % 1000 === 0) await pause();
		if (!isCopy(operation.opcode)) continue;
		const { sequence, offset, length } = operation.change;
		const record = new Uint8Array(length);
		range.logs.find(({ identity }) => identity.sequence === sequence)?.source.read(record, offset);
		const items = copiedItems(record);
		const there = items && (await database.existingItems(operation.mailboxId, items));
		if (there === undefined || there.size > 0) left.add(operation.id);
	}
	return left;
}

const positionOf = ({ log, offset }: ReplayedPosition): Position => ({
	sequence: log.sequence,
	offset,
});

export const located = ({ log, offset }: ReplayedPosition) => ({ ...log, offset });

const upToDate = (position: ReplayedPosition): ReplayResult => ({
	kind: "up to date",
	position: located(position),
});

const sameEnd = (a: ReplayedPosition, b: ReplayedPosition): boolean =>
	comparePositions(positionOf(a), positionOf(b)) === 0;

const lower = (a: Position, b: Position | undefined): Position =>
	b === undefined || comparePositions(a, b) < 0 ? a : b;
