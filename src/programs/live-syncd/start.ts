import { setTimeout as sleep } from "node:timers/promises";
import { Refusal } from "../../errors.ts";
import { judgePeer, judgeRedoSettings } from "../../formats/guards.ts";
import type { LdapState, RedoState } from "../../formats/state.ts";
import { type OpenStream, openStream } from "../../loops/redo/live-stream.ts";
import { inspectLocalLog, type LocalLog } from "../../loops/redo/local-log.ts";
import { findDifference, firstAnswer, ownHistory, request } from "../../loops/redo/receive.ts";
import { establishReplayed } from "../../loops/redo/replay-position.ts";
import type { Config } from "../../services/config.ts";
import { type Logger, makeLogger } from "../../services/log/logger.ts";
import { readPidFile } from "../../services/pid-file.ts";
import { isAlive, type ProcessIdentity } from "../../services/processes.ts";
import { readPublished } from "../../services/publish.ts";
import { announceIntent, readRole, withdrawIntent, writeRole } from "../../services/role.ts";
import { makeRun } from "../../services/run.ts";
import { startDaemon } from "../../services/self.ts";
import { makeMailboxd } from "../../services/zimbra/mailboxd.ts";
import { zimbraVersion } from "../../services/zimbra/version.ts";
import { clearStopFile, type LoopName } from "./loop.ts";
import { askHello, askSettings } from "./peer.ts";
import { makeDirectories } from "./setting-up.ts";

export type StartOptions = { readonly setAsideOwnHistory?: boolean };

const upMs = 30_000;

/** `live-syncd start`: returns when both loops are up, or says why not, having changed nothing. */
export async function start(config: Config, options: StartOptions): Promise<number> {
	if (!(await makeReady(config, options))) {
		process.stdout.write("Process already running\n");
		return 0;
	}
	process.stdout.write("Starting processes...");
	await clearStopFile(config);
	const loops = (["redo", "ldap"] satisfies LoopName[]).map((name) => ({
		name,
		process: startDaemon(["--config", config.base.config, "loop", name]),
	}));
	await Promise.all(loops.map((loop) => waitUntilUp(config, loop.name, loop.process)));
	process.stdout.write("done\n");
	return 0;
}

/**
 * Everything that must hold before the first byte is written here: false where live-syncd runs
 * already, a Refusal where this server must not become a mirror of that peer.
 */
export async function makeReady(config: Config, _options: StartOptions): Promise<boolean> {
	const { base } = config;
	if ((await readPidFile(base.pidRedo)) !== undefined) return false;
	if ((await readPidFile(base.pidLdap)) !== undefined) return false;
	await makeDirectories(config);
	const log = (await makeLogger(base.log, config.settings)).child({ program: "start" });
	const deadline = AbortSignal.timeout(
		2 * (config.settings.connect_timeout + config.settings.command_timeout),
	);
	// Published before the peer is asked: of two servers that start at once, both then refuse.
	await announceIntent(base.role);
	try {
		const local = await checkGuards(config, log, deadline);
		await establishReplayed(config, local.identity.timeline);
		const role = await readRole(base.role);
		await writeRole(base.role, {
			...role,
			role: "mirror",
			timeline: local.identity.timeline,
			since: role.role === "mirror" ? role.since : Date.now(),
		});
		return true;
	} catch (error) {
		log.error({ reason: String(error) }, "start refused");
		throw error;
	} finally {
		await withdrawIntent(base.role);
	}
}

async function checkGuards(config: Config, log: Logger, signal: AbortSignal): Promise<LocalLog> {
	const { base, settings, remoteAddress } = config;
	const role = await readRole(base.role);
	const mailboxd = await makeMailboxd({ run: makeRun(settings), config }).process();
	const asked = Date.now();
	const hello = await askHello(config, signal);
	const answered = Date.now();
	const local = await inspectLocalLog(config, role.timeline, signal);
	const facts = {
		address: config.localAddress,
		peer: remoteAddress,
		role,
		zimbra: await zimbraVersion(config, `${base.base}/status/zimbra-version.json`),
		serverId: local.identity.serverId,
		mailboxd: mailboxd && `process ${mailboxd.pid}`,
		clock: (asked + answered) / 2,
		clockOffsetMaxMs: settings.clock_offset_max,
	};
	const refusal =
		judgePeer(facts, hello) ??
		judgeRedoSettings(remoteAddress, await askSettings(config, signal)) ??
		(mailboxd === undefined ? undefined : bothLive(config, mailboxd));
	if (refusal !== undefined) throw refusal;
	await checkHistory(config, local, log, signal);
	return local;
}

const bothLive = ({ remoteAddress }: Config, mailboxd: ProcessIdentity): Refusal =>
	new Refusal(
		"is-live",
		`mailboxd runs here (process ${mailboxd.pid}) and on ${remoteAddress} too: both serve mail`,
		`if ${remoteAddress} is the live one, stop Zimbra here: zmcontrol stop; docs/runbooks.md, split brain`,
	);

/** Asks for the stream, looks at the answer only, and takes nothing of it. */
async function checkHistory(
	config: Config,
	local: LocalLog,
	log: Logger,
	signal: AbortSignal,
): Promise<void> {
	const open: OpenStream = (...asked) => openStream(config, log, ...asked);
	await using stream = await request({ config, log, signal, open }, local);
	const answer = await firstAnswer(stream, config);
	if (answer.kind === "refusal") {
		throw new Refusal(
			answer.code === "archive-gone" || answer.code === "history-ends" ? answer.code : "divergence",
			`${config.remoteAddress} says: ${answer.message}`,
			answer.hint,
		);
	}
	if (answer.kind !== "differs" || local.kind !== "open") return;
	const offset = await findDifference(config, local, answer);
	// What was received and is no longer there, the live server has cut; the loop cuts it here too.
	if (offset < local.from) throw ownHistory(config, local, offset);
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
