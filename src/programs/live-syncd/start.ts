import { rm } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, hintOf, Refusal } from "../../errors.ts";
import { isFollowing } from "../../formats/role.ts";
import type { LdapState, RedoState } from "../../formats/state.ts";
import type { LocalLog } from "../../loops/redo/receiver/local-log.ts";
import { establishReplayed } from "../../loops/redo/replayer/position.ts";
import type { Config } from "../../services/config.ts";
import { failPoint } from "../../services/fail-point.ts";
import { endRound } from "../../services/ldap/round-processes.ts";
import { type Logger, makeLogger } from "../../services/log/logger.ts";
import { onServer } from "../../services/manual.ts";
import type { PeerConfig } from "../../services/peer-config.ts";
import { writePidFile } from "../../services/pid-file.ts";
import { isAlive, type ProcessIdentity } from "../../services/processes.ts";
import { readPublished } from "../../services/publish.ts";
import { dropEmptyLog } from "../../services/redolog/empty-log.ts";
import { dropSavedLogs } from "../../services/redolog/saved-logs.ts";
import { announceIntent, readRole, withdrawIntent, writeRole } from "../../services/role.ts";
import { startDaemon } from "../../services/self.ts";
import { type Examination, examineHere, examineThere } from "./examine.ts";
import { Interruption } from "./interruption.ts";
import {
	clearStopFile,
	type LoopName,
	loopCommand,
	loopNames,
	pidFileOf,
	runningLoops,
} from "./loop.ts";
import { proveLdap } from "./prove-ldap.ts";
import { repairLdap, useWaitingCopy } from "./repair-ldap.ts";
import { makeDirectories } from "./setting-up.ts";
import { takeTurn } from "./turn.ts";

export type StartOptions = { readonly setAsideOwnHistory?: boolean };

const upMs = 30_000;
/** Longer than it takes to find that a holder of the turn is dead, and to take it over. */
const turnMs = 2000;

/**
 * `live-syncd start`: returns when both loops are up. A refusal has changed nothing. Where one loop does not
 * come up, the other one follows on, and the next start tries again.
 */
export async function start(config: PeerConfig, options: StartOptions): Promise<number> {
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
 * Looks at everything that must hold before the first byte is written here, proves the way of both the
 * redo log and LDAP, then has the loops started that do not run yet, each with its pid file, so that
 * nobody starts or misses one meanwhile.
 * @param takeOver told of loops that run already, to end them gently: all are started then
 * Throws a Refusal where this server must not become a mirror of that peer.
 */
export async function becomeMirror(
	config: PeerConfig,
	options: StartOptions,
	startLoops: (missing: readonly LoopName[]) => Promise<void>,
	takeOver?: (running: readonly ProcessIdentity[]) => Promise<void>,
): Promise<void> {
	await makeDirectories(config);
	const log = (await makeLogger(config.base.log, config.settings)).child({ program: "start" });
	await using _turn = await takeTurn(config, "start", turnMs, log);
	const running = await runningLoops(config);
	const missing = loopNames.filter((name) => running[name].length === 0);
	if (missing.length === 0 && takeOver === undefined) {
		process.stdout.write("Process already running\n");
		return;
	}
	const startMissing = async () => {
		await takeOver?.(Object.values(running).flat());
		const loops = takeOver === undefined ? missing : loopNames;
		await clearLastLife(config, loops);
		failPoint("start:before-loops");
		await startLoops(loops);
	};
	// Who is told to end while guards are passed ends what they have started, too.
	const interruption = new Interruption();
	try {
		if (missing.length > 0) await passGuards(config, options, missing, log, interruption);
		interruption.signal.throwIfAborted();
		interruption.over();
		await startMissing();
	} finally {
		if (missing.includes("redo")) await withdrawIntent(config.base.role);
		interruption.over();
	}
}

async function passGuards(
	config: PeerConfig,
	options: StartOptions,
	loops: readonly LoopName[],
	log: Logger,
	{ signal }: Interruption,
): Promise<void> {
	const { base } = config;
	const tell = (line: string) => process.stdout.write(`${line}\n`);
	const examination: Examination = {
		...{ config, log, signal, loops },
		ownHistory: options.setAsideOwnHistory === true ? "set aside" : "refuse",
		demand: async (guard) => await guard(),
		warn(message, hint) {
			log.warn({ hint }, message);
			process.stderr.write(
				`Warning: ${message}\n${hint === undefined ? "" : `  try: ${onServer(hint)}\n`}`,
			);
		},
	};
	try {
		const here = await examineHere(examination);
		let local: LocalLog | undefined;
		// A redo loop that runs follows, so that every guard of it was passed; and its log changes.
		if (loops.includes("redo")) {
			// Published before the peer is asked: of two servers that start at once, both then refuse.
			await announceIntent(base.role);
			({ local } = await examineThere(examination, here));
		}
		if (loops.includes("ldap")) {
			// Else a copy that waits from before would make way for the new one, which may never come.
			await endRound(config);
			await repairLdap(config, log);
			if (isFollowing(here.role)) await useWaitingCopy(config, log);
			const proof = { config, log, signal, scratch: false, copied: true, tell };
			await proveLdap(proof).catch((error: unknown) => {
				signal.throwIfAborted();
				if (!here.lacksRoom) throw error;
				// There may be none for a copy of LDAP: for the redo log there is, and mail counts more.
				examination.warn(describe(error), hintOf(error));
			});
		}
		signal.throwIfAborted();
		if (local === undefined) return;
		const { timeline } = local.identity;
		await establishReplayed(config, timeline);
		// The redo log is the live server's again: a replay finds in redolog/ what was saved of it.
		await dropSavedLogs(config);
		await dropEmptyLog(config.zimbra);
		const role = await readRole(base.role);
		const since = isFollowing(role) ? role.since : Date.now();
		const known = { ...role, local: config.localAddress, stopped: undefined };
		await writeRole(base.role, { ...known, role: "mirror", timeline, since });
	} catch (error) {
		const code = error instanceof Refusal ? error.code : undefined;
		log.error({ code, reason: describe(error), hint: hintOf(error) }, "start refused");
		throw error;
	}
}

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
