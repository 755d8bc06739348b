import { setTimeout as sleep } from "node:timers/promises";
import { describe, Refusal } from "../../errors.ts";
import { comparePositions, formatPosition, type Position } from "../../formats/redolog/position.ts";
import type { LdapState, RedoState, ReplayState } from "../../formats/state.ts";
import { refuseForeignLog } from "../../loops/redo/receiver/local-log.ts";
import {
	lookbackEndsAt,
	readLookBack,
	shippedLookBackSeconds,
} from "../../loops/redo/replayer/look-back.ts";
import { makeReplayer } from "../../loops/redo/replayer/loop.ts";
import { replayerParts } from "../../loops/redo/replayer/parts.ts";
import { hasReceived } from "../../loops/redo/replayer/position.ts";
import { ageOf, type Moment, now } from "../../services/clock.ts";
import type { Config } from "../../services/config.ts";
import { readIfThere, writeDurably } from "../../services/files.ts";
import { endRound } from "../../services/ldap/round-processes.ts";
import { type Logger, makeLogger } from "../../services/log/logger.ts";
import { readPidFile } from "../../services/pid-file.ts";
import { publish, readPublished } from "../../services/publish.ts";
import { readRole, writeRole } from "../../services/role.ts";
import { makeRun } from "../../services/run.ts";
import { clearStopFile, findLoops } from "./loop.ts";
import { Patience } from "./patience.ts";
import { repairLdap } from "./repair-ldap.ts";
import { makeDirectories } from "./setting-up.ts";
import { takeTurn } from "./turn.ts";

/** A loop publishes each second; one that does not for so long is not waited for. */
const publishedMs = 5000;
/** The LDAP loop publishes that often. */
const ldapStateMs = 1000;
/** After so long a wait for LDAP is told. */
const tellOfLdapMs = 1000;

/**
 * `live-syncd stop`: ends the loops, replays all that was received, and leaves the server ready for
 * `zmcontrol start`. Needs nothing of the live server.
 */
export async function stop(config: Config): Promise<number> {
	await makeDirectories(config);
	const log = (await makeLogger(config.base.log, config.settings)).child({ program: "stop" });
	await using _turn = await takeTurn(config, "stop", patienceMs(config), log);
	try {
		await endLoops(config, log);
		await replayRest(config, log);
	} catch (error) {
		process.stderr.write(
			"live-syncd: not all that was received is in the message store yet. Do not start Zimbra here before live-syncd stop has ended with done: what is left could not be replayed any more\n",
		);
		throw error;
	}
	await release(config);
	await waitForLookback(config);
	process.stdout.write("done\n");
	return 0;
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
	const { base } = config;
	if (!(await follows(config))) {
		process.stdout.write("This server follows no other one: nothing to replay\n");
		return;
	}
	// What Zimbra has executed here itself must not be executed again.
	await refuseForeignLog(config);
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
	const keptBack = (replay?.failedOperations ?? 0) + (replay?.operationsAtRisk ?? 0);
	if (keptBack === 0) return;
	process.stderr.write(
		`live-syncd: ${replay?.failedOperations} operations failed or were set aside, and of ${replay?.operationsAtRisk} nobody knows whether they were executed: see ${base.failed} and docs/runbooks.md, replay has stopped\n`,
	);
}

/**
 * Whether there may be something to replay. What came into the redo log after an earlier `stop`, Zimbra has
 * executed here itself. Throws a Refusal (position-lost) where that cannot be told.
 */
async function follows(config: Config): Promise<boolean> {
	const { base } = config;
	if ((await readIfThere(base.replayed)) === undefined) return false;
	const { role, since } = await readRole(base.role);
	// Without a record of its role it may be a mirror that has lost it.
	return (role === "mirror" || since === 0) && (await hasReceived(config));
}

/** From now on Zimbra may be started here: this server follows nobody any more. */
async function release({ base }: Config): Promise<void> {
	const role = await readRole(base.role);
	if (role.role !== "mirror") return;
	await writeRole(base.role, { ...role, role: "unknown", since: Date.now() });
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
