import { rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, Refusal } from "../../errors.ts";
import {
	judgeLogPlaces,
	judgePeer,
	judgeRedoSettings,
	judgeServers,
} from "../../formats/guards.ts";
import type { ZimbraSettings } from "../../formats/protocol/zimbra-settings.ts";
import { isFollowing, type Role } from "../../formats/role.ts";
import type { LdapState, RedoState } from "../../formats/state.ts";
import type { LocalLog } from "../../loops/redo/receiver/local-log.ts";
import { establishReplayed } from "../../loops/redo/replayer/position.ts";
import { deadline } from "../../services/clock.ts";
import type { Config } from "../../services/config.ts";
import { failPoint } from "../../services/fail-point.ts";
import { findScriptOf2011 } from "../../services/live-syncd-here.ts";
import { type Logger, makeLogger } from "../../services/log/logger.ts";
import { writePidFile } from "../../services/pid-file.ts";
import { isAlive, type ProcessIdentity } from "../../services/processes.ts";
import { readPublished } from "../../services/publish.ts";
import { listArchive, openLog } from "../../services/redolog/open-log.ts";
import { dropSavedLogs } from "../../services/redolog/saved-logs.ts";
import { announceIntent, readRole, withdrawIntent, writeRole } from "../../services/role.ts";
import { lackOfRoom } from "../../services/room.ts";
import { makeRun } from "../../services/run.ts";
import { startDaemon } from "../../services/self.ts";
import { makeMailboxd } from "../../services/zimbra/mailboxd.ts";
import { zimbraVersion } from "../../services/zimbra/version.ts";
import { checkHistory } from "./check-history.ts";
import { clearStopFile, findLoops, type LoopName, loopCommand, pidFileOf } from "./loop.ts";
import { askHello, askSettings } from "./peer.ts";
import { makeDirectories } from "./setting-up.ts";
import { takeTurn } from "./turn.ts";

export type StartOptions = { readonly setAsideOwnHistory?: boolean };

const upMs = 30_000;
/** Longer than it takes to find that a holder of the turn is dead, and to take it over. */
const turnMs = 2000;
/** Either server may have to read a redo log of 4 GiB first, from a slow disk. A silent link ends sooner. */
const historyMs = 30 * 60_000;

/** `live-syncd start`: returns when both loops are up, or says why not, having changed nothing. */
export async function start(config: Config, options: StartOptions): Promise<number> {
	await becomeMirror(config, options, async (missing) => {
		process.stdout.write("Starting processes...");
		const loops = missing.map((name) => ({
			name,
			process: startDaemon(loopCommand(config, name)),
		}));
		failPoint("start:before-pid-files");
		for (const loop of loops) await writePidFile(pidFileOf(config, loop.name), loop.process);
		await Promise.all(loops.map((loop) => waitUntilUp(config, loop.name, loop.process)));
		process.stdout.write("done\n");
	});
	return 0;
}

/** What loops have published in an earlier life must not be taken for news. */
async function clearLastLife(config: Config, loops: readonly LoopName[]): Promise<void> {
	const { base } = config;
	await clearStopFile(config);
	for (const name of loops) {
		await rm(name === "redo" ? base.stateRedo : base.stateLdap, { force: true });
	}
}

/**
 * Looks at everything that must hold before the first byte is written here, then has the loops
 * started that do not run yet, each with its pid file, so that nobody starts or misses one meanwhile.
 * Throws a Refusal where this server must not become a mirror of that peer.
 */
export async function becomeMirror(
	config: Config,
	options: StartOptions,
	startLoops: (missing: readonly LoopName[]) => Promise<void>,
): Promise<void> {
	await makeDirectories(config);
	const { base } = config;
	const log = (await makeLogger(base.log, config.settings)).child({ program: "start" });
	await using _turn = await takeTurn(config, "start", turnMs, log);
	const missing: LoopName[] = [];
	for (const name of ["redo", "ldap"] as const) {
		if ((await findLoops(config, name)).length === 0) missing.push(name);
	}
	if (missing.length === 0) {
		process.stdout.write("Process already running\n");
		return;
	}
	const startMissing = async () => {
		await clearLastLife(config, missing);
		failPoint("start:before-loops");
		await startLoops(missing);
	};
	// The redo loop follows, so every guard has been passed; and its log changes while one looks.
	if (!missing.includes("redo")) return await startMissing();
	await refuseBesideScriptOf2011(config);
	// Published before the peer is asked: of two servers that start at once, both then refuse.
	await announceIntent(base.role);
	try {
		await passGuards(config, options, log);
		await startMissing();
	} finally {
		await withdrawIntent(base.role);
	}
}

/** Both would write the same redo log. A look is repeated: a script that only ends is not in the way. */
async function refuseBesideScriptOf2011(config: Config): Promise<void> {
	const found = findScriptOf2011(config);
	if (found === undefined) return;
	await sleep(1000);
	if (findScriptOf2011(config) !== found) return;
	throw new Refusal(
		"both-mirrors",
		`the live_syncd script of 2011 runs on this server, process ${found}`,
		`end it with its own stop or kill, or: kill ${found}; then start again`,
	);
}

async function passGuards(config: Config, options: StartOptions, log: Logger): Promise<void> {
	const { base } = config;
	try {
		const local = await checkGuards(config, options, log);
		await establishReplayed(config, local.identity.timeline);
		// The redo log is the live server's again: a replay finds in redolog/ what was saved of it.
		await dropSavedLogs(config);
		const role = await readRole(base.role);
		await writeRole(base.role, {
			...role,
			role: "mirror",
			timeline: local.identity.timeline,
			since: isFollowing(role) ? role.since : Date.now(),
			stopped: undefined,
		});
	} catch (error) {
		const { code, hint } = error instanceof Refusal ? error : {};
		log.error({ code, reason: describe(error), hint }, "start refused");
		throw error;
	}
}

async function checkGuards(config: Config, options: StartOptions, log: Logger): Promise<LocalLog> {
	const { base, settings, remoteAddress } = config;
	const signal = deadline(
		2 * (settings.connect_timeout + settings.command_timeout),
		`${remoteAddress} did not answer all questions of start (connect_timeout, command_timeout)`,
	);
	const role = await readRole(base.role);
	const mailboxd = await makeMailboxd({ run: makeRun(settings), config }).process();
	const askedAt = Date.now();
	const hello = await askHello(config, signal);
	const answeredAt = Date.now();
	const serverId = await localServerId(config);
	const facts = {
		address: config.localAddress,
		peer: remoteAddress,
		role,
		zimbra: await zimbraVersion(config),
		serverId,
		mailboxd: mailboxd && `process ${mailboxd.pid}`,
		askedAt,
		answeredAt,
		clockOffsetMaxMs: settings.clock_offset_max,
	};
	const refusal =
		judgePeer(facts, hello) ??
		judgeSettings(config, await askSettings(config, signal)) ??
		(mailboxd === undefined ? undefined : bothLive(config, mailboxd));
	if (refusal !== undefined) throw refusal;
	await checkRoom(config, role, log);
	const setAside = options.setAsideOwnHistory === true;
	const compared = deadline(
		historyMs,
		`the redo logs of this server and ${remoteAddress} could not be compared: a disk is too slow`,
	);
	return await checkHistory(config, role, setAside, log, compared);
}

const judgeSettings = (
	{ remoteAddress: peer, zimbra }: Config,
	{ redo, otherStores }: ZimbraSettings,
): Refusal | undefined =>
	judgeServers(peer, otherStores) ??
	judgeRedoSettings(peer, redo) ??
	judgeLogPlaces(peer, zimbra.home, redo);

/**
 * Refuses a new mirror on a disk that is all but full. One that has followed before goes on: the redo
 * log is received to the last byte, and a standby that stays down after a reboot is the greater harm.
 */
async function checkRoom(config: Config, { role }: Role, log: Logger): Promise<void> {
	const lack = await lackOfRoom(config);
	if (lack === undefined) return;
	if (role !== "mirror") throw lack;
	log.warn({ code: lack.code, hint: lack.hint }, lack.message);
	process.stderr.write(`Warning: ${lack.message}\n  try: ${lack.hint}\n`);
}

/** The server id in whatever redo log is here: the current one, or the newest in the archive. */
async function localServerId({ zimbra }: Config): Promise<string> {
	const newest = (await listArchive(zimbra)).at(-1)?.name;
	const paths = [
		zimbra.currentLog,
		...(newest === undefined ? [] : [join(zimbra.archive, newest)]),
	];
	for (const path of paths) {
		const log = await openLog(path);
		if (log === undefined) continue;
		await log.file.close();
		return log.header.serverId;
	}
	throw new Refusal(
		"no-initial-copy",
		`there is no redo log in ${zimbra.redolog}: this server has no copy of the live one to go on from`,
		"make the initial copy with the live server stopped, redolog/ included: docs/runbooks.md, initial copy",
	);
}

const bothLive = ({ remoteAddress }: Config, mailboxd: ProcessIdentity): Refusal =>
	new Refusal(
		"is-live",
		`mailboxd runs here (process ${mailboxd.pid}) and on ${remoteAddress} too: both serve mail`,
		`if ${remoteAddress} is the live one, stop Zimbra here: zmcontrol stop; docs/runbooks.md, split brain`,
	);

/** Waits until a loop has published its state for the first time, or has ended. */
async function waitUntilUp(config: Config, name: LoopName, loop: ProcessIdentity): Promise<void> {
	const file = name === "redo" ? config.base.stateRedo : config.base.stateLdap;
	const deadline = performance.now() + upMs;
	while (performance.now() < deadline) {
		const state = await readPublished<RedoState | LdapState>(file, 1);
		if (state?.pid === loop.pid && state.phase !== "stopped") return;
		if (!isAlive(loop)) throw new Error(`the ${name} loop ended at once; see ${config.base.log}`);
		await sleep(50);
	}
	throw new Error(
		`the ${name} loop did not come up within ${upMs / 1000} s; see ${config.base.log}`,
	);
}
