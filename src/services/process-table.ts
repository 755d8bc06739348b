import { readdirSync } from "node:fs";
import { basename } from "node:path";
import { parseStat } from "../formats/proc-stat.ts";
import { readProc } from "./proc.ts";
import { identify, type ProcessIdentity } from "./processes.ts";

/** A process as /proc shows it; what it was when it was read may be gone by now. */
export type TableEntry = {
	readonly pid: number;
	readonly words: readonly string[];
	/** `NAME=value` each, as it was started; nothing where that is hidden from us */
	environment(): readonly string[];
};

/**
 * The living processes of our own user that look like what is asked for. Everybody chooses the words of his
 * own processes freely, so those of other users prove nothing.
 *
 * A process that is about to become another program has no command line for a moment; `patient` waits for
 * the new one, which takes a second look at each thread of the kernel.
 */
export function* ownProcesses(
	how: "at once" | "patient",
	looksLike: (entry: TableEntry) => boolean,
): Generator<ProcessIdentity> {
	const read = how === "patient" ? loadedReader() : readIfAllowed;
	for (const name of readdirSync("/proc")) {
		const pid = Number(name);
		if (!Number.isSafeInteger(pid)) continue;
		const words = read(pid, "cmdline")?.split("\0");
		if (words === undefined || words.length <= 1) continue;
		const environment = () => read(pid, "environ")?.split("\0") ?? [];
		// The user last: few processes look like it, and each question costs a file of /proc.
		if (!looksLike({ pid, words, environment }) || userOf(pid) !== "own") continue;
		const process = identify(pid);
		if (process !== undefined) yield process;
	}
}

/** Living processes of our own that have `NAME=value` in the environment they were started with. */
export const processesWith = (variable: string): ProcessIdentity[] => [
	...ownProcesses("patient", ({ environment }) => environment().includes(variable)),
];

/**
 * Living processes of our own that run a command: its words are the last of theirs, since the command may
 * be a script, and a path where a name was given.
 */
export const processesRunning = ([file = "", ...rest]: readonly string[]): ProcessIdentity[] => [
	...ownProcesses("patient", ({ words }) => {
		// The last word of /proc/PID/cmdline is ended by a NUL like the others.
		const own = words.slice(0, -1);
		const at = own.length - rest.length - 1;
		if (at < 0 || basename(own[at] ?? "") !== basename(file)) return false;
		return rest.every((word, index) => own[at + 1 + index] === word);
	}),
];

/** CPU time that a process and its ended children have used, in ms; 0 where it is gone. */
export function cpuTime(pid: number): number {
	const stat = readIfAllowed(pid, "stat");
	// A tick is a hundredth of a second (sysconf(_SC_CLK_TCK) on Linux).
	return stat === undefined ? 0 : parseStat(stat).cpuTime * 10;
}

/** A program is loaded within milliseconds, where it has the processor; what takes longer waits for a disk. */
const loadedMs = 1000;

/** All waits of one look at the table together: many processes must not hold up a stop. */
const lookMs = 2000;

/**
 * Reads a file of a process; where the process is about to become another program, that of the new one.
 * It waits only for what can be found in the end: anybody can make processes that show no words.
 */
function loadedReader(): (pid: number, file: "cmdline" | "environ") => string | undefined {
	const over = performance.now() + lookMs;
	return (pid, file) => {
		const deadline = Math.min(performance.now() + loadedMs, over);
		for (;;) {
			const text = readIfAllowed(pid, file);
			if (text !== "" || performance.now() > deadline) return text;
			const stat = readIfAllowed(pid, "stat");
			if (stat === undefined) return undefined;
			const { ended, kernel, sizes } = parseStat(stat);
			if (ended || kernel || sizes[file] === 0 || userOf(pid) !== "own") return text;
			Atomics.wait(nothing, 0, 0, 1);
		}
	};
}

const nothing = new Int32Array(new SharedArrayBuffer(4));

/** Gone, or another user's: undefined. */
function readIfAllowed(pid: number, file: string): string | undefined {
	try {
		return readProc(pid, file);
	} catch {
		return undefined;
	}
}

/**
 * Whose process it is; `gone` also where it is hidden from us and another user's (hidepid).
 *
 * By its real user: whoever starts a set-user-ID program, such as su or sudo, chooses its words, and stays
 * its real user. The owner of the /proc entry does not tell: a process with a file capability, such as
 * slapd, has root there. Source: proc(5), credentials(7).
 */
export function userOf(pid: number): "own" | "root" | "other" | "gone" {
	const real = /^Uid:\s*(\d+)/m.exec(readIfAllowed(pid, "status") ?? "")?.[1];
	const own = process.getuid?.();
	if (real !== undefined) {
		return Number(real) === own ? "own" : Number(real) === 0 ? "root" : "other";
	}
	// With hidepid the kernel hides our own slapd too, because of its capability; a signal would reach it.
	return own !== 0 && canSignal(pid) ? "own" : "gone";
}

function canSignal(pid: number): boolean {
	try {
		return process.kill(pid, 0);
	} catch {
		return false;
	}
}
