import { rm } from "node:fs/promises";
import { describe, Refusal } from "../../errors.ts";
import { runRedoLoop } from "../../loops/redo/redo-loop.ts";
import type { Config } from "../../services/config.ts";
import { type Logger, makeLogger } from "../../services/log/logger.ts";
import { claimZimbra } from "../../services/one-base.ts";
import type { PeerConfig } from "../../services/peer-config.ts";
import { readPidFile, removePidFile, writePidFile } from "../../services/pid-file.ts";
import { processesRunning } from "../../services/process-table.ts";
import { ownIdentity, type ProcessIdentity } from "../../services/processes.ts";
import { ownCommand } from "../../services/self.ts";
import { version } from "../../version.ts";
import { unitExitCode } from "./exit-code.ts";
import { makeDirectories } from "./setting-up.ts";

export const loopNames = ["redo", "ldap"] as const;
export type LoopName = (typeof loopNames)[number];

/** The log goes to the terminal too. */
export const terminalOption = "--terminal";

/**
 * One of the two loops, in this process, until it is told to end.
 * @param terminal whether it is a child of the foreground: its log goes to the terminal too, and its exit
 * code tells whether to start it again is of any use
 */
export async function runLoop(
	name: LoopName,
	config: PeerConfig,
	terminal: boolean,
): Promise<number> {
	await makeDirectories(config);
	const log = (await makeLogger(config.base.log, config.settings, terminal)).child({ loop: name });
	const pidFile = pidFileOf(config, name);
	const other = await readPidFile(pidFile);
	if (other !== undefined && other.pid !== process.pid) {
		log.error({ pid: other.pid }, "this loop runs already");
		return 1;
	}
	await writePidFile(pidFile, ownIdentity());
	const ended = new AbortController();
	for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) {
		process.on(signal, () => ended.abort(new Error(signal)));
	}
	log.info({ version, peer: config.remoteAddress, home: config.zimbra.home }, "loop starts");
	try {
		await run(name, config, log, ended.signal);
		log.info({ reason: reasonOf(ended.signal) }, "loop ends");
		return 0;
	} catch (error) {
		const hint = error instanceof Refusal ? error.hint : undefined;
		log.error({ reason: describe(error), hint }, "loop withdraws");
		return terminal ? unitExitCode(error) : 1;
	} finally {
		await removePidFile(pidFile);
	}
}

async function run(
	name: LoopName,
	config: PeerConfig,
	log: Logger,
	signal: AbortSignal,
): Promise<void> {
	await using _claim = await claimZimbra(config);
	if (name === "redo") return await runRedoLoop(config, log, signal);
	const { runLdapLoop } = await import("../../loops/ldap/ldap-loop.ts");
	await runLdapLoop(config, log, signal);
}

const reasonOf = (signal: AbortSignal): string =>
	signal.aborted ? String(signal.reason?.message) : "stop was asked";

export const pidFileOf = ({ base }: Config, name: LoopName): string =>
	name === "redo" ? base.pidRedo : base.pidLdap;

/** The words that start a loop. */
export const loopCommand = ({ base }: Config, name: LoopName): string[] => [
	...ownCommand(),
	...["--config", base.config, "loop", name],
];

/**
 * The living processes of a loop: the one that its pid file names, and one that has none yet, since who
 * started it was killed in that moment.
 */
export async function findLoops(config: Config, name: LoopName): Promise<ProcessIdentity[]> {
	const named = await readPidFile(pidFileOf(config, name));
	const command = loopCommand(config, name);
	const unnamed = [command, [...command, terminalOption]]
		.flatMap(processesRunning)
		.filter(({ pid }) => pid !== named?.pid);
	return [...(named === undefined ? [] : [named]), ...unnamed];
}

/** {@link findLoops} of both. */
export async function runningLoops(config: Config): Promise<Record<LoopName, ProcessIdentity[]>> {
	return { redo: await findLoops(config, "redo"), ldap: await findLoops(config, "ldap") };
}

/** A stop file of an earlier stop would end the loops at once. */
export async function clearStopFile({ base }: Config): Promise<void> {
	await rm(base.stopFile, { force: true });
}
