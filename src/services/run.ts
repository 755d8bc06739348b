import { foreignLines, foreignWords } from "../formats/foreign-words.ts";
import type { Settings } from "../formats/settings/table.ts";
import { identify, type ProcessIdentity, signalGroup } from "./processes.ts";

export type RunResult = {
	readonly exitCode: number | undefined;
	readonly signal: string | undefined;
	/** the deadline passed, or the signal aborted, and the command's process group was ended */
	readonly ended: "by itself" | "deadline" | "aborted";
	readonly stdout: string;
	readonly stderr: string;
};

export type RunOptions = {
	readonly timeoutMs: number;
	readonly signal?: AbortSignal;
	readonly cwd?: string;
	/** beside the environment that Zimbra's scripts need */
	readonly env?: Readonly<Record<string, string>>;
	readonly input?: string;
	/** called with the new process, which leads a process group of its own */
	readonly onStart?: (leader: ProcessIdentity) => void;
	/** called with each piece that it writes to its standard output */
	readonly onStdout?: (text: string) => void;
};

/** Runs a command, given as words, without a shell; never throws for what the command does. */
export type Run = (command: readonly string[], options: RunOptions) => Promise<RunResult>;

/** How long a command that was told to end may take before it is killed. */
const graceMs = 2000;
/** How long its output may rest, once a command has ended, until nothing more is expected of it. */
const drainMs = 250;
/** Output kept of each stream; the rest of a talkative command is dropped. */
const maxOutput = 1 << 20;

/**
 * Makes a {@link Run} with the environment that Zimbra's scripts need: PATH and LC_ALL are set here,
 * since a forced command and a systemd unit read neither .bashrc nor .bash_profile.
 */
export function makeRun(settings: Pick<Settings, "path" | "zimbra_home">): Run {
	const env = {
		...process.env,
		PATH: settings.path.join(":"),
		LC_ALL: "C",
		HOME: settings.zimbra_home,
	};
	return async ([file = "", ...words], options) => {
		// Loaded here: it takes as long as all the rest of a short command that runs nothing.
		const { execa } = await import("execa");
		// A group of its own, so that the children of a script end with it.
		const child = execa(file, words, {
			env: { ...env, ...options.env },
			extendEnv: false,
			detached: true,
			cleanup: false,
			reject: false,
			buffer: false,
			stripFinalNewline: false,
			// Not ours: it may have been removed, or lie on a server that does not answer.
			cwd: options.cwd ?? "/",
			...(options.input === undefined ? { stdin: "ignore" as const } : { input: options.input }),
		});
		let stdout = "";
		let stderr = "";
		let pieces = 0;
		child.stdout?.setEncoding("utf8").on("data", (text: string) => {
			pieces += 1;
			options.onStdout?.(text);
			if (stdout.length < maxOutput) stdout += text;
		});
		child.stderr?.setEncoding("utf8").on("data", (text: string) => {
			pieces += 1;
			if (stderr.length < maxOutput) stderr += text;
		});

		const leader = child.pid === undefined ? undefined : identify(child.pid);
		if (leader !== undefined) options.onStart?.(leader);

		let ended: RunResult["ended"] = "by itself";
		let kill: NodeJS.Timeout | undefined;
		const end = (reason: "deadline" | "aborted") => {
			if (ended !== "by itself" || leader === undefined) return;
			ended = reason;
			signalGroup(leader, "SIGTERM");
			kill = setTimeout(() => signalGroup(leader, "SIGKILL"), graceMs);
		};
		const deadline = setTimeout(() => end("deadline"), options.timeoutMs);
		const abort = () => end("aborted");
		let draining: NodeJS.Timeout | undefined;
		child.nodeChildProcess.once("exit", () => {
			// Over, whoever has the output still open: a service that it started is not ended with it.
			clearTimeout(deadline);
			options.signal?.removeEventListener("abort", abort);
			let before = -1;
			draining = setInterval(() => {
				if (pieces === before) for (const stream of [child.stdout, child.stderr]) stream?.destroy();
				before = pieces;
			}, drainMs);
		});
		options.signal?.addEventListener("abort", abort);
		if (options.signal?.aborted === true) abort();
		try {
			const result = await child;
			const failure = result.exitCode === undefined && result.signal === undefined;
			return {
				exitCode: result.exitCode,
				signal: result.signal,
				ended,
				stdout,
				stderr: failure ? `${stderr}${result.shortMessage ?? ""}` : stderr,
			};
		} finally {
			clearTimeout(deadline);
			clearTimeout(kill);
			clearInterval(draining);
			options.signal?.removeEventListener("abort", abort);
			// What the command left in its group has no owner but us.
			if (leader !== undefined && ended !== "by itself") signalGroup(leader, "SIGKILL");
		}
	};
}

/** Puts `start`, `stop` or `status` where a configured command says `{action}`. */
export function withAction(command: readonly string[], action: string): string[] {
	return command.map((word) => word.replaceAll("{action}", action));
}

/** Lines of a command's words that are kept of each end; the first ones of ssh tell why the last ones come. */
const keptLines = 4;

/**
 * The words of a command that tell something, on one line: its first and its last lines, without those
 * that only decorate (ssh draws a frame of @ round what is wrong with a key).
 */
function telling(words: string): string {
	const lines = words.split("\n").filter((line) => /[\p{L}\d]/u.test(line));
	const kept =
		lines.length <= 2 * keptLines
			? lines
			: [...lines.slice(0, keptLines), "…", ...lines.slice(-keptLines)];
	return foreignLines(kept.map((line) => foreignWords(line, 400)).join("\n"), 2000);
}

/** One line about how a command ended, for a log or an error. */
export function describeResult(command: readonly string[], result: RunResult): string {
	const how =
		result.ended === "deadline"
			? "did not end in time and was ended"
			: result.ended === "aborted"
				? "was ended"
				: result.signal !== undefined
					? `was killed by ${result.signal}`
					: `exited with ${result.exitCode ?? "no code: it could not be started"}`;
	const said = telling(result.stderr.trim() || result.stdout.trim());
	return `${command.join(" ")} ${how}${said === "" ? "" : `: ${said}`}`;
}
