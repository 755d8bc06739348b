import { setTimeout as sleep } from "node:timers/promises";
import { describe, Refusal } from "../../errors.ts";
import { formatPosition, type Position } from "../../formats/redolog/position.ts";
import { parseReplayedPosition } from "../../formats/replay/replayed-position.ts";
import { isFollowing, type Role } from "../../formats/role.ts";
import type { RedoState, ReplayState } from "../../formats/state.ts";
import type { Exported } from "../../loops/redo/export-messages.ts";
import {
	lookbackOf,
	readLookBack,
	shippedLookBackSeconds,
} from "../../loops/redo/replayer/look-back.ts";
import { makeReplayer } from "../../loops/redo/replayer/loop.ts";
import { replayerParts } from "../../loops/redo/replayer/parts.ts";
import {
	hasReceived,
	readReplayed,
	refuseBehindOtherBase,
} from "../../loops/redo/replayer/position.ts";
import {
	describeUnreplayed,
	findUnreplayed,
	notReplayed,
	prepareUnreplayed,
} from "../../loops/redo/unreplayed.ts";
import type { Config } from "../../services/config.ts";
import { readIfThere } from "../../services/files.ts";
import type { Logger } from "../../services/log/logger.ts";
import { publish, readPublished } from "../../services/publish.ts";
import { dropEmptyLog, leaveEmptyLog } from "../../services/redolog/empty-log.ts";
import { dropSavedLogs } from "../../services/redolog/saved-logs.ts";
import { writeRole } from "../../services/role.ts";
import { makeRun } from "../../services/run.ts";
import { lossesOf, unreplayedRest } from "./losses.ts";
import { roleHere, whetherZimbraRan } from "./own-role.ts";

/** All is in the message store, and Zimbra must not be started by this clock. */
export class ClockBehind extends Error {}

/**
 * Everything that was received comes into the message store. Gives what is missing there all the same.
 * @param typedAt ms since the epoch: when `stop` was typed, before it ended the loops
 */
export async function bringUpToDate(
	config: Config,
	log: Logger,
	acceptLoss: boolean,
	typedAt: number,
): Promise<string[]> {
	await refuseBehindOtherBase(config);
	const role = await roleHere(config, (problem) => {
		process.stderr.write(
			`live-syncd: ${problem}; stop goes on by what else is known of this server\n`,
		);
	});
	const ran = await whetherZimbraRan(config);
	// Without a record of its role it may be a mirror that has lost it.
	const isMirror = role.role === "mirror" || (role.since === 0 && (await hasReceived(config)));
	if (!isMirror || (role.stopped !== undefined && ran !== "not")) {
		const since = role.stopped && new Date(role.stopped.at).toISOString();
		const why =
			since === undefined ? "" : `Zimbra was started here after live-syncd stop, ${since}: `;
		process.stdout.write(
			`${why}${since === undefined ? "This" : "this"} server follows no other one: nothing to replay\n`,
		);
		await endRole(config);
		return [];
	}
	const received = await hasReceivedAsMirror(config, role, ran);
	if (!received) {
		process.stdout.write("Nothing was received from the live server: nothing to replay\n");
	}
	if (ran === "not") {
		// A stop before this one may have left it, and it is no part of what was received.
		await dropEmptyLog(config.zimbra);
		if (received) await replayRest(config, log);
		const losses = received ? await unreplayedRest(config) : [];
		losses.push(...(await lossesOf(config, role, typedAt)));
		const noLog = await leaveEmptyLog(config.zimbra);
		if (noLog !== undefined) losses.push(noLog);
		await release(config);
		await waitForLookback(config);
		return losses;
	}
	const exported: string[] = [];
	if (received && ran === "runs") await refuseWhereMailIsLeft(config, log);
	if (received && ran === "ran") {
		exported.push(...(await replayBehindZimbra(config, log)));
		// mailboxd was killed, maybe: then what was received stands in redo.log still.
		await waitForLookback(config);
	}
	const losses = [...exported, ...(await lossesOf(config, role))];
	// Till somebody has accepted them, each stop tells them.
	if (losses.length === 0 || acceptLoss) await endRole(config);
	return losses;
}

/**
 * Whether there may be something to replay. Throws a Refusal (position-lost) where that cannot be told, and
 * where something was received but nobody knows how far it was replayed.
 */
async function hasReceivedAsMirror(
	config: Config,
	role: Role,
	ran: "not" | "ran" | "runs",
): Promise<boolean> {
	if (!(await hasReceived(config))) return false;
	// A mirror that has lost status/ has no role either; a server that is live now may have, too.
	if (isFollowing(role) || (role.since === 0 && ran !== "runs")) await readReplayed(config);
	return (await readIfThere(config.base.replayed)) !== undefined;
}

/** Everything that was received is replayed, the open redo.log included. */
async function replayRest(config: Config, log: Logger): Promise<void> {
	let replay: ReplayState | undefined;
	const replayer = makeReplayer({
		...replayerParts(config, log),
		settled: () => undefined,
		events: {
			onState(state) {
				replay = state;
			},
			onReplayed: () => undefined,
			onWait(holder) {
				if (holder !== undefined) process.stdout.write(`Waiting for ${holder} to end...\n`);
			},
			onProblem: () => undefined,
		},
	});
	process.stdout.write("Replaying redologs...\n");
	const result = await replayer.replayEverything(new AbortController().signal);
	if (result.kind === "stopped") {
		throw new Refusal("replay-stopped", `replay has stopped: ${result.why}`, result.hint);
	}
	if (result.kind === "retry" || result.kind === "re-run") {
		throw new Error(`not everything could be replayed: ${result.why}`);
	}
	await tellStatus(config, replayer.state, result.position);
	const at = formatPosition(result.position);
	process.stdout.write(`Replayed ${replay?.operations ?? 0} operations, up to ${at}\n`);
}

/**
 * mailboxd runs on a mirror that was not stopped: what was received and is not in the store is kept, and a
 * Refusal tells how to get it there.
 */
async function refuseWhereMailIsLeft(config: Config, log: Logger): Promise<void> {
	const found = await findUnreplayed(config);
	const what = found && describeUnreplayed(found);
	if (what === undefined) {
		process.stdout.write(
			"Zimbra runs here, and all that was received is in the message store: nothing to replay\n",
		);
		return;
	}
	log.error({ kept: config.base.unreplayed }, what);
	const refusal = notReplayed(config, what);
	await tellProblem(config, refusal);
	throw refusal;
}

/** For `status`, beside what the redo loop has published: it may have ended before it could see this. */
async function tellProblem({ base }: Config, { code, message, hint }: Refusal): Promise<void> {
	const known = await readPublished<RedoState>(base.stateRedo, 1);
	if (known === undefined || known.problems.some((problem) => problem.message === message)) return;
	const problem = { code, message, hint, since: Date.now(), critical: true };
	const others = known.problems.filter((each) => each.hint !== hint);
	await publish(base.stateRedo, { ...known, problems: [...others, problem] });
}

/** Zimbra was started here without `stop`, and is down again: exactly what it has not executed is replayed. */
async function replayBehindZimbra(config: Config, log: Logger): Promise<string[]> {
	const found = await findUnreplayed(config);
	if (found === undefined) return [];
	const { recovered, open: left, overtaken } = found;
	log.warn(
		{ replay: left.length, recovered: recovered.length, overtaken: overtaken.length },
		"Zimbra was started here without stop; what it has not executed is replayed now",
	);
	process.stdout.write(
		`Zimbra was started here without live-syncd stop. Of what was received, ${recovered.length} operations were executed by its start, ${left.length} are replayed now, ${overtaken.length} can not be\n`,
	);
	const exported = await prepareUnreplayed(config, found);
	await replayRest(config, log);
	return exported === undefined ? [] : [describeExported(exported)];
}

function describeExported({ operations, messages, unread, directory }: Exported): string {
	const left =
		unread === 0
			? ""
			: `; ${unread} or more could not be exported and are in ${directory}/redo.log only`;
	return `${operations} operations are of mailboxes in which Zimbra has worked here since it was started, so they were not replayed: ${messages} messages among them were exported to ${directory}/messages, messages.tsv there tells whose they are${left}`;
}

/** All that was received is in the store. What comes into the redo log from now on is this server's own. */
async function release(config: Config): Promise<void> {
	const { base } = config;
	const role = await roleHere(config);
	if (role.role !== "mirror") return;
	const text = await readIfThere(base.replayed);
	const position = text === undefined ? undefined : parseReplayedPosition(text);
	const replayed = position && { sequence: position.log.sequence, offset: position.offset };
	await writeRole(base.role, { ...role, stopped: { at: Date.now(), replayed } });
}

/** Zimbra has run here since, and nothing is left to replay: this server is no mirror any more. */
async function endRole(config: Config): Promise<void> {
	const { role, timeline } = await roleHere(config);
	if (role === "mirror") {
		await writeRole(config.base.role, { version: 1, role: "unknown", timeline, since: Date.now() });
	}
	// A redo.log that is no mirror's has no saved logs.
	await dropSavedLogs(config);
}

/** What the loops have published last says nothing of what was replayed since. */
async function tellStatus(
	{ base }: Config,
	replay: ReplayState,
	replayed: Position,
): Promise<void> {
	const known = await readPublished<RedoState>(base.stateRedo, 1);
	if (known === undefined) return;
	const sum = (name: "runs" | "operations") => known.replay[name] + replay[name];
	await publish(base.stateRedo, {
		...known,
		replayed: { sequence: replayed.sequence, offset: replayed.offset },
		replay: { ...replay, runs: sum("runs"), operations: sum("operations") },
	});
}

/**
 * Zimbra's start-up recovery executes again what was committed in the last seconds before that start,
 * ten unless it is told otherwise. `stop` alters nothing in redo.log, since the mirror may go on: it waits until they are past.
 */
async function waitForLookback(config: Config): Promise<void> {
	const lookback = await lookbackOf(config, () => lookBackSeconds(config));
	if (lookback === undefined) return;
	const { newest, endsAt } = lookback;
	const leftMs = endsAt - Date.now();
	if (leftMs <= 0) return;
	const at = new Date(endsAt).toISOString();
	const aheadMs = newest - Date.now();
	if (aheadMs > 2 * config.settings.clock_offset_max) {
		throw new ClockBehind(
			`the clock of this server, ${new Date().toISOString()}, is far behind the newest operation of the live server, ${new Date(newest).toISOString()}: Zimbra, started now, would execute all of redo.log again. Set the clock (date -s as root), or wait until ${at}; then live-syncd stop again`,
		);
	}
	process.stdout.write(
		`Waiting ${Math.ceil(leftMs / 1000)} s: Zimbra, started before ${at}, would execute the last operations again\n`,
	);
	await sleep(leftMs);
}

/** At a failover nothing may hang on this: where LDAP does not tell, it is said, and taken as shipped. */
async function lookBackSeconds(config: Config): Promise<number> {
	try {
		return await readLookBack({ run: makeRun(config.settings), config });
	} catch (error) {
		process.stderr.write(
			`live-syncd: how far Zimbra's start-up recovery looks back is not known, ${shippedLookBackSeconds} s as shipped are taken; if zimbraRedoLogCrashRecoveryLookbackSec is more here, wait so long before zmcontrol start: ${describe(error)}\n`,
		);
		return shippedLookBackSeconds;
	}
}
