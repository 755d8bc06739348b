import { setTimeout as sleep } from "node:timers/promises";
import { describe, Refusal } from "../../errors.ts";
import { judgeLiveEnd } from "../../formats/live-end.ts";
import { comparePositions, formatPosition, type Position } from "../../formats/redolog/position.ts";
import { parseReplayedPosition } from "../../formats/replay/replayed-position.ts";
import { isFollowing, type Role, unknownRole } from "../../formats/role.ts";
import type { LdapState, RedoState, ReplayState } from "../../formats/state.ts";
import type { Exported } from "../../loops/redo/export-messages.ts";
import { foreignLog } from "../../loops/redo/receiver/local-log.ts";
import { listKept } from "../../loops/redo/replayer/kept-operations.ts";
import {
	lookbackEndsAt,
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
import { ageOf, type Moment, now } from "../../services/clock.ts";
import type { Config } from "../../services/config.ts";
import { readIfThere, writeDurably } from "../../services/files.ts";
import type { KeptLot } from "../../services/kept-lots.ts";
import { endRound } from "../../services/ldap/round-processes.ts";
import { type Logger, makeLogger } from "../../services/log/logger.ts";
import { onServer } from "../../services/manual.ts";
import { readPidFile } from "../../services/pid-file.ts";
import { publish, readPublished } from "../../services/publish.ts";
import { findLog } from "../../services/redolog/open-log.ts";
import { readProvenance } from "../../services/redolog/provenance.ts";
import { dropSavedLogs, readSavedLogs } from "../../services/redolog/saved-logs.ts";
import { readRole, writeRole } from "../../services/role.ts";
import { makeRun } from "../../services/run.ts";
import { makeMailboxd } from "../../services/zimbra/mailboxd.ts";
import { clearStopFile, findLoops } from "./loop.ts";
import { Patience } from "./patience.ts";
import { repairLdap, useWaitingCopy } from "./repair-ldap.ts";
import { makeDirectories } from "./setting-up.ts";
import { takeTurn } from "./turn.ts";

/** A loop publishes each second; one that does not for so long is not waited for. */
const publishedMs = 5000;
/** The LDAP loop publishes that often. */
const ldapStateMs = 1000;
/** After so long a wait for LDAP is told. */
const tellOfLdapMs = 1000;

/**
 * The exit code of a `stop` that has done all it can do, where something is missing in the message store:
 * `stop && zmcontrol start` ends there, and a person decides. With --accept-loss it is 0.
 */
const lossCode = 5;

export type StopOptions = { readonly acceptLoss?: boolean };

/**
 * `live-syncd stop`: ends the loops, replays all that was received, and leaves the server ready for
 * `zmcontrol start`. Needs nothing of the live server.
 */
export async function stop(config: Config, options: StopOptions = {}): Promise<number> {
	await makeDirectories(config);
	const log = (await makeLogger(config.base.log, config.settings)).child({ program: "stop" });
	await using _turn = await takeTurn(config, "stop", patienceMs(config), log);
	try {
		await endLoops(config, log);
		const losses = await bringUpToDate(config, log);
		if (losses.length === 0) {
			process.stdout.write("done\n");
			return 0;
		}
		return tellLosses(losses, options);
	} catch (error) {
		// Where Zimbra runs already, nobody is to be told not to start it.
		if ((await mailboxdProcess(config)) === undefined) {
			process.stderr.write(
				"live-syncd: not all that was received is in the message store yet. Do not start Zimbra here before live-syncd stop has ended with done: what is left could not be replayed any more\n",
			);
		}
		throw error;
	}
}

function tellLosses(losses: readonly string[], { acceptLoss }: StopOptions): number {
	for (const loss of losses) process.stderr.write(`live-syncd: ${onServer(loss)}\n`);
	if (acceptLoss === true) {
		process.stdout.write("done\n");
		return 0;
	}
	process.stderr.write(
		`live-syncd: not done (exit code ${lossCode}): all that could be replayed is in the message store, but something is missing, as told above. ${onServer("docs/runbooks.md, failover, tells how to get it. To go on without it: live-syncd stop --accept-loss && zmcontrol start")}\n`,
	);
	return lossCode;
}

/** Everything that was received comes into the message store. Gives what is missing there all the same. */
async function bringUpToDate(config: Config, log: Logger): Promise<string[]> {
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
		if (received) await replayRest(config, log);
		const losses = await lossesOf(config, role);
		await release(config);
		await waitForLookback(config);
		return losses;
	}
	const exported: string[] = [];
	if (received && ran === "runs") await refuseWhereMailIsLeft(config, log);
	if (received && ran === "ran") exported.push(...(await replayBehindZimbra(config, log)));
	const losses = await lossesOf(config, role);
	await endRole(config);
	return [...exported, ...losses];
}

/**
 * At a failover nothing may hang on a file that says what this server was: where it cannot be read, all
 * else here is gone by, as where it was lost. The file itself is left alone.
 */
async function roleHere({ base }: Config, tell?: (problem: string) => void): Promise<Role> {
	try {
		return await readRole(base.role);
	} catch (error) {
		tell?.(describe(error));
		return unknownRole;
	}
}

/** Whether Zimbra has been started here since this server received something. */
async function whetherZimbraRan(config: Config): Promise<"not" | "ran" | "runs"> {
	if ((await mailboxdProcess(config)) !== undefined) return "runs";
	if ((await foreignLog(config)) !== undefined) return "ran";
	// They are saved only where a mailboxd was seen here; one that was killed may leave no other trace.
	return (await readSavedLogs(config)) === undefined ? "not" : "ran";
}

const mailboxdProcess = (config: Config) =>
	makeMailboxd({ run: makeRun(config.settings), config }).process();

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

async function endLoops(config: Config, log: Logger): Promise<void> {
	const patience = new Patience(config);
	await waitForLdap(config, patience);
	await writeDurably(config.base.stopFile, "");
	try {
		await waitForLoops(config, patience);
	} finally {
		await clearStopFile(config);
	}
	// Of a loop that was killed; what is left of it is in nobody's way but for the work it makes.
	await endRound(config).catch((error: unknown) => {
		process.stderr.write(`live-syncd: ${describe(error)}\n`);
	});
	await repairLdap(config, log);
	// LDAP of a server on which Zimbra ran has changes of its own.
	const role = await roleHere(config);
	const mayFollow = isFollowing(role) || role.since === 0;
	if (mayFollow && (await whetherZimbraRan(config)) === "not") {
		await useWaitingCopy(config, log);
	}
}

/**
 * Mail for an account that the LDAP copy here does not know yet cannot be replayed. While the LDAP loop
 * hears the live server, and has no trouble, it is given the time to bring the accounts of all that was
 * received. A copy that can not come is not waited for: see {@link mayCover}.
 */
async function waitForLdap(config: Config, patience: Patience): Promise<void> {
	const { base, settings } = config;
	const flushed = await flushedNow(config);
	if (flushed === undefined) return;
	const began = now();
	let told = false;
	patience.allow(settings.service_timeout);
	do {
		if ((await readPidFile(base.pidLdap)) === undefined) return;
		const ldap = await readPublished<LdapState>(base.stateLdap, 1);
		if (ldap === undefined || ldap.phase === "stopped") return;
		if (ldap.problems.length > 0) return;
		if (ldap.coverage !== undefined && comparePositions(ldap.coverage, flushed) >= 0) return;
		if (!mayCover(ldap, flushed, settings, began)) return;
		if (!told && ageOf(began) > tellOfLdapMs) {
			told = true;
			process.stdout.write("Waiting for a copy of LDAP that covers what was received...\n");
		}
	} while (await patience.lasts());
}

/**
 * Whether a copy of LDAP that covers a position may still come.
 * @param began when `stop` began to wait
 */
function mayCover(
	{ heardAt, liveEnd }: LdapState,
	flushed: Position,
	{ heartbeat_interval, link_timeout }: Config["settings"],
	began: Moment,
): boolean {
	// A live server that has just died is not known to be dead yet. Each look comes with a heartbeat.
	const silentMs = heardAt === undefined ? ageOf(began) : ageOf(heardAt);
	if (silentMs > link_timeout + ldapStateMs) return false;
	// It has cut its log below what is here, as after a crash, or has none: what it copies covers no more.
	// A look from before `stop` may be older than what was received since.
	const looksSince = (heardAt?.monotonic ?? 0) - began.monotonic;
	if (looksSince < 2 * heartbeat_interval + ldapStateMs) return true;
	return liveEnd !== undefined && comparePositions(liveEnd, flushed) >= 0;
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

const describeExported = ({ operations, messages, directory }: Exported): string =>
	`${operations} operations are of mailboxes in which Zimbra has worked here since it was started, so they were not replayed: the ${messages} messages among them were exported to ${directory}/messages, messages.tsv there tells whose they are`;

/** What is missing in the message store, as far as this machine can know. */
async function lossesOf(config: Config, role: Role): Promise<string[]> {
	const { base, settings } = config;
	const losses: string[] = [];
	const kept = await listKept(config).catch((error: unknown): KeptLot[] => {
		losses.push(`whether operations failed or were set aside is not known: ${describe(error)}`);
		return [];
	});
	const count = kept.reduce((sum, lot) => sum + (lot.kind === "at risk" ? 0 : lot.count), 0);
	const atRisk = kept.reduce((sum, lot) => sum + (lot.kind === "at risk" ? lot.count : 0), 0);
	if (count + atRisk > 0) {
		losses.push(
			`${count} operations failed or were set aside, and of ${atRisk} nobody knows whether they were executed: see ${base.failed} and docs/runbooks.md, replay has stopped`,
		);
	}
	const { text, loss } = judgeLiveEnd({
		...(await endHere(config)),
		state: await readPublished<RedoState>(base.stateRedo, 1),
		since: role.since,
		heartbeatMs: settings.heartbeat_interval,
	});
	if (loss) losses.push(text);
	else process.stdout.write(`${text}\n`);
	return losses;
}

/** Where the bytes end that are here, whatever was published of them. */
async function endHere(config: Config): Promise<{ here: Position | undefined; closed: boolean }> {
	const { zimbra } = config;
	const record = await readProvenance(zimbra.mirrorMarker);
	if (record === undefined) return { here: undefined, closed: false };
	const { sequence, createTime } = record.identity;
	const log = await findLog(zimbra, sequence, createTime);
	await log?.file.close();
	const closed = !record.receiving && log !== undefined && log.path !== zimbra.currentLog;
	return { here: { sequence, offset: record.upTo }, closed };
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
	const end = await lookbackEndsAt(config, () => lookBackSeconds(config));
	const leftMs = end === undefined ? 0 : end - Date.now();
	if (end === undefined || leftMs <= 0) return;
	const at = new Date(end).toISOString();
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

/** A replay run may be under way, and what it has to wait for. */
const patienceMs = ({ settings }: Config): number =>
	settings.replay_timeout + settings.service_timeout;

/** Not what the redo loop published a second ago: in that second an account may have got its first mail. */
async function flushedNow({ base }: Config): Promise<Position | undefined> {
	const { monotonic: asked } = now();
	for (;;) {
		const state = await readPublished<RedoState>(base.stateRedo, 1);
		const fresh = state !== undefined && state.at.monotonic > asked;
		const late = now().monotonic - asked > publishedMs;
		if (fresh || late || (await readPidFile(base.pidRedo)) === undefined) return state?.flushed;
		await sleep(100);
	}
}

async function waitForLoops(config: Config, patience: Patience): Promise<void> {
	let told = false;
	patience.allow(patienceMs(config));
	for (;;) {
		const [loop] = [...(await findLoops(config, "redo")), ...(await findLoops(config, "ldap"))];
		if (loop === undefined) return;
		if (!told) process.stdout.write("Waiting for sync operations to complete...\n");
		told = true;
		if (!(await patience.lasts())) {
			throw new Error(
				`process ${loop.pid} does not come to an end; live-syncd kill ends it at once`,
			);
		}
	}
}
