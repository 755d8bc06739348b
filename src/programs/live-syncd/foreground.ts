import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process";
import { basename } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Refusal } from "../../errors.ts";
import { parseStat } from "../../formats/proc-stat.ts";
import type { PeerConfig } from "../../services/peer-config.ts";
import { writePidFile } from "../../services/pid-file.ts";
import { readProc } from "../../services/proc.ts";
import { identify, isAlive, type ProcessIdentity, sendSignal } from "../../services/processes.ts";
import { ownCommand } from "../../services/self.ts";
import { unitExitCode } from "./exit-code.ts";
import { Interrupted } from "./interruption.ts";
import { loopCommand, loopNames, pidFileOf, terminalOption } from "./loop.ts";
import { Patience } from "./patience.ts";
import { becomeMirror } from "./start.ts";
import { tell } from "./tell.ts";

const endings = ["SIGTERM", "SIGINT", "SIGHUP"] as const;

/**
 * Both loops in the foreground, each a process of its own, the log on the terminal too; ends both when
 * it is told to end, or when one of them has ended. Loops that `start` has started are taken over. Gives
 * an exit code by which systemd knows whether to start it again.
 */
export async function foreground(configured: () => Promise<PeerConfig>): Promise<number> {
	try {
		return await runBoth(await configured());
	} catch (error) {
		// As whoever has no handler ends: systemd takes it for the end that it asked for.
		if (error instanceof Interrupted) {
			process.kill(process.pid, error.by);
			await sleep(1000);
		}
		tell(error);
		return unitExitCode(error);
	}
}

async function runBoth(config: PeerConfig): Promise<number> {
	const loops: ChildProcess[] = [];
	const codes: Promise<number>[] = [];
	let ending = false;
	const endAll = () => {
		ending = true;
		for (const loop of loops) loop.kill("SIGTERM");
	};
	const startBoth = async () => {
		process.stdout.write("Starting processes in realtime\n");
		// Before there is a loop: none may outlive this process because that was told too soon.
		for (const signal of endings) process.on(signal, endAll);
		for (const name of loopNames) {
			// The one before has ended, or this process was told to: nobody would end the next one.
			if (ending) return;
			const [file = "", ...words] = loopCommand(config, name);
			const options: SpawnOptions = { stdio: ["ignore", "inherit", "inherit"] };
			const loop = spawn(file, [...words, terminalOption], options);
			loops.push(loop);
			codes.push(
				new Promise((resolve) => {
					loop.once("error", () => {
						endAll();
						resolve(1);
					});
					loop.once("exit", (code, signal) => {
						// Told to end before it could listen, it has ended as it was told.
						resolve(code ?? (ending && signal === "SIGTERM" ? 0 : 1));
						endAll();
					});
				}),
			);
			const identity = loop.pid === undefined ? undefined : identify(loop.pid);
			if (identity !== undefined) await writePidFile(pidFileOf(config, name), identity);
		}
	};
	try {
		await becomeMirror(config, {}, startBoth, (running) => takeOver(config, running));
	} catch (error) {
		// Where one could not get its pid file, say: nobody would end the other one.
		endAll();
		await Promise.all(codes);
		throw error;
	}
	return Math.max(0, ...(await Promise.all(codes)));
}

/**
 * Ends loops that run here already, at their next safe point, so that they go on as children of this
 * process. Those of another foreground have their owner, which would end with them.
 * Throws a Refusal (already-running).
 */
async function takeOver(config: PeerConfig, running: readonly ProcessIdentity[]): Promise<void> {
	if (running.length === 0) return;
	for (const loop of running) refuseBesideForeground(loop);
	process.stdout.write("Taking over from the loops that run here already...\n");
	const { replay_timeout, service_timeout } = config.settings;
	const patience = new Patience(config);
	patience.allow(replay_timeout + service_timeout);
	for (const loop of running) sendSignal(loop, "SIGTERM");
	for (const loop of running) {
		while (isAlive(loop)) {
			if (await patience.lasts()) continue;
			throw new Error(
				`process ${loop.pid} does not come to an end; live-syncd kill ends it at once`,
			);
		}
	}
}

function refuseBesideForeground(loop: ProcessIdentity): void {
	const program = basename(ownCommand().at(-1) ?? "");
	const parent = parentOf(loop);
	// Its words are those of this program, and neither those of a shell that waits for it nor of init.
	if (parent === undefined || !parent.words.some((word) => basename(word) === program)) return;
	throw new Refusal(
		"already-running",
		`the loops run already as children of process ${parent.pid}, a live-syncd in the foreground`,
		"let it run; to end it: systemctl stop live-syncd where systemd has started it, else live-syncd stop",
	);
}

/** Undefined where one of them has just ended. */
function parentOf(loop: ProcessIdentity): { pid: number; words: string[] } | undefined {
	try {
		const { parent } = parseStat(readProc(loop.pid, "stat"));
		return { pid: parent, words: readProc(parent, "cmdline").split("\0") };
	} catch {
		return undefined;
	}
}
