import { open, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { showsWork } from "../../formats/replay/mailbox-log.ts";
import type { RunEvidence } from "../../formats/replay/outcome.ts";
import type { Config } from "../config.ts";
import { failPoint } from "../fail-point.ts";
import { readIfThere } from "../files.ts";
import type { Logger } from "../log/logger.ts";
import { cpuTime, ownProcesses, processesWith } from "../process-table.ts";
import { isAlive, killAll, type ProcessIdentity, signalGroup } from "../processes.ts";
import type { RunResult } from "../run.ts";
import { newText } from "./mailbox-log.ts";
import { namedProcess, type ServiceParts } from "./service.ts";

/**
 * zmplayredo, in a process group of its own, its words and its exit code kept in files: a loop that is
 * killed leaves it running, and the next one can wait for it and learn how it ended.
 */
export type PlayerRun = {
	/** names the run; its processes carry it in their environment, from their first instruction on */
	readonly token: string;
	/** of this run alone; gets stdout, stderr and exit */
	readonly directory: string;
	/** in this order */
	readonly files: readonly string[];
	readonly threads: number;
	readonly stopOnError: boolean;
	/**
	 * Called when a process of the run is first seen, its leader at once. When it fails the run is
	 * ended: nobody could wait for a process that is not recorded.
	 */
	readonly onProcess: (process: ProcessIdentity) => Promise<void>;
};

export type PlayerEnd = "by itself" | "no progress" | "not recorded";

const tokenName = "LIVE_SYNC_RUN";
const pollMs = 1000;
const outlastPollMs = 250;
const longestTimer = 2 ** 31 - 1;
/** Of one core, while it works; a JVM that waits for the database uses less. */
const busyShare = 0.05;

/**
 * Runs its arguments with their output in a directory, and keeps their exit code there. The words come
 * as arguments and are not read by the shell.
 */
const keeper =
	'out=$1; shift; "$@" >>"$out/stdout" 2>"$out/stderr" </dev/null; echo $? >"$out/exit.tmp" && mv "$out/exit.tmp" "$out/exit"';

/**
 * Runs zmplayredo to its end, or ends it when it makes no progress for replay_timeout. Progress is the
 * next "Processing log file", words of work in mailbox.log, or CPU time.
 */
export async function play({ run, config }: ServiceParts, player: PlayerRun): Promise<PlayerEnd> {
	const { settings } = config;
	const command = [
		...["env", `${tokenName}=${player.token}`, "sh", "-c", keeper, "replay", player.directory],
		...settings.zmplayredo_command,
		...(player.stopOnError ? ["--stopOnError"] : []),
		...["--threads", String(player.threads), "--logfiles", ...player.files],
	];
	await makeOutput(player.directory);
	const ending = new AbortController();
	let end: PlayerEnd = "by itself";
	let leader: ProcessIdentity | undefined;
	const seen = new Map<number, ProcessIdentity>();
	const record = async (process: ProcessIdentity) => {
		if (seen.has(process.pid)) return;
		seen.set(process.pid, process);
		await player.onProcess(process);
	};
	const stop = (reason: PlayerEnd) => {
		end = reason;
		ending.abort();
	};

	let over = false;
	const running: Promise<RunResult> = run(command, {
		timeoutMs: longestTimer,
		signal: ending.signal,
		onStart: (process) => {
			leader = process;
			failPoint("replay:started");
			record(process).catch(() => stop("not recorded"));
		},
	}).finally(() => {
		over = true;
	});
	const progress = new Progress(config, player);
	const wakeUp = new AbortController();
	void running.then(
		() => wakeUp.abort(),
		() => wakeUp.abort(),
	);
	while (!over) {
		await sleep(Math.min(pollMs, settings.replay_timeout / 10), undefined, {
			signal: wakeUp.signal,
		}).catch(() => undefined);
		if (over || ending.signal.aborted) continue;
		const processes = processesWith(`${tokenName}=${player.token}`);
		await Promise.all(processes.map(record)).catch(() => stop("not recorded"));
		if ((await progress.silentFor(processes)) > settings.replay_timeout) stop("no progress");
	}
	await running;
	if (leader !== undefined && isAlive(leader)) signalGroup(leader, "SIGKILL");
	// Also without a leader: one that ends at once is gone before it is seen, and what it left is not.
	await endPlayer({ token: player.token, processes: [...seen.values()] });
	return end;
}

/**
 * Waits until a run is gone whose loop is, and ends it when it makes no progress for replay_timeout,
 * as the loop would have.
 */
export async function outlast(
	config: Config,
	player: Pick<PlayerRun, "directory"> & Parameters<typeof livingPlayers>[0],
	signal: AbortSignal,
): Promise<PlayerEnd> {
	const { replay_timeout } = config.settings;
	const progress = new Progress(config, player);
	for (;;) {
		const living = livingPlayers(player);
		if (living.length === 0) return "by itself";
		if ((await progress.silentFor(living)) > replay_timeout) {
			await endPlayer(player);
			return "no progress";
		}
		await sleep(outlastPollMs, undefined, { signal });
	}
}

const firstWords = "live-syncd starts zmplayredo\n";

/**
 * What its own look at mailboxd prints where all is well: no reason why a run failed.
 * Source: zm-core-utils, src/bin/zmplayredo, isrunning().
 */
const mailboxdStopped = "mailboxd is not running.";

/**
 * The first block of its output, with words of our own in it: where the disk is full by the time that it
 * names its first file, there is room for that, and what was executed is not taken for nothing.
 */
async function makeOutput(directory: string): Promise<void> {
	await using file = await open(join(directory, "stdout"), "w", 0o640);
	await file.writeFile(firstWords);
	await file.sync();
}

/** Tells for how long a run has shown no progress. */
class Progress {
	readonly #config: Config;
	readonly #player: Pick<PlayerRun, "directory">;
	#lastAt = performance.now();
	#stdout = 0;
	#log: { inode: number; offset: number } | undefined;
	#cpu = { used: 0, at: performance.now() };

	constructor(config: Config, player: Pick<PlayerRun, "directory">) {
		this.#config = config;
		this.#player = player;
	}

	async silentFor(processes: readonly ProcessIdentity[]): Promise<number> {
		const stdout = await sizeOf(join(this.#player.directory, "stdout"));
		const log = await newText(this.#config.zimbra.mailboxLog, this.#log);
		const worked = log !== undefined && showsWork(log.text);
		if (log !== undefined) this.#log = log.at;
		if (stdout > this.#stdout || worked || this.#usedCpu(processes)) {
			this.#stdout = stdout;
			this.#lastAt = performance.now();
		}
		return performance.now() - this.#lastAt;
	}

	#usedCpu(processes: readonly ProcessIdentity[]): boolean {
		const at = performance.now();
		const windowMs = Math.min(60_000, this.#config.settings.replay_timeout / 4);
		if (at - this.#cpu.at < windowMs) return false;
		const used = processes.reduce((sum, { pid }) => sum + cpuTime(pid), 0);
		const busy = (used - this.#cpu.used) / (at - this.#cpu.at) > busyShare;
		this.#cpu = { used, at };
		return busy;
	}
}

/** Every living process of a run, whoever started it. */
export const playerProcesses = (token: string): ProcessIdentity[] =>
	processesWith(`${tokenName}=${token}`);

/** A run as far as it is known: what it is named, and the processes of it that were seen. */
type KnownRun = { readonly token: string; readonly processes: readonly ProcessIdentity[] };

/**
 * What still works for a run, also what its loop had no time to name. After a reset nothing does, and
 * the numbers that were recorded are those of others.
 */
export const livingPlayers = (run: KnownRun & { readonly phase: string }): ProcessIdentity[] =>
	run.phase === "running" ? stillThere(run) : [];

/** By its environment, and by number: a process on its way out shows no environment any more. */
function stillThere({ token, processes }: KnownRun): ProcessIdentity[] {
	const named = processes.filter(isAlive);
	const unnamed = playerProcesses(token);
	return [...named, ...unnamed.filter(({ pid }) => !named.some((each) => each.pid === pid))];
}

/** Kills what is left of a run and returns when it is gone. Throws where a process does not end. */
export async function endPlayer(run: KnownRun): Promise<void> {
	await killAll("of a replay run", () => stillThere(run));
}

/** What a run has left behind about itself; ask only when all its processes are gone. */
export async function readEvidence(directory: string): Promise<RunEvidence> {
	const [stdout, stderr, exit] = await Promise.all(
		["stdout", "stderr", "exit"].map((name) => readIfThere(join(directory, name))),
	);
	const lines = (stdout ?? "").split("\n");
	const processed = lines.flatMap((line) => /^Processing log file: (.+)$/.exec(line)?.[1] ?? []);
	const said = `${stderr ?? ""}\n${stdout?.replace(firstWords, "") ?? ""}`
		.split("\n")
		.filter((line) => line.trim() !== "" && line !== mailboxdStopped);
	return {
		exitCode: exit === undefined ? undefined : Number(exit),
		processed,
		// A player that was never started has no stdout either, and executed as little.
		started: stdout !== undefined,
		said: said.slice(0, 3).join(" | ").slice(0, 500),
	};
}

/**
 * A zmplayredo that is not ours: one that an admin has started.
 * Source of the JVM's words: zm-core-utils, src/bin/zmplayredo.
 */
async function strangePlayer(config: Config): Promise<ProcessIdentity | undefined> {
	const named = await namedProcess(config.zimbra.replayPidFile, /zmplayredo/);
	if (named !== undefined) return named;
	const [player] = ownProcesses("patient", ({ words }) => {
		if (!words.some((word) => word.endsWith("redolog.util.PlaybackUtil"))) return false;
		return words.some((word) => word.includes(`${config.zimbra.home}/`));
	});
	return player;
}

/**
 * Makes zmplayredo startable: it refuses while its pid file names anybody, dead or alive.
 * Throws where a zmplayredo runs; call it only when our own runs are known to be gone.
 */
export async function clearPidFile(config: Config, log: Logger): Promise<void> {
	const { replayPidFile } = config.zimbra;
	const other = await strangePlayer(config);
	if (other !== undefined) {
		throw new Error(
			`a zmplayredo that live-syncd has not started runs, process ${other.pid}; replay waits until it has ended`,
		);
	}
	const pid = (await readIfThere(replayPidFile))?.trim();
	if (pid === undefined || pid === "") return;
	log.warn(
		{ file: replayPidFile, named: pid },
		"removed the pid file of a zmplayredo that is gone",
	);
	await rm(replayPidFile, { force: true });
}

async function sizeOf(path: string): Promise<number> {
	return (await stat(path).catch(() => undefined))?.size ?? 0;
}
