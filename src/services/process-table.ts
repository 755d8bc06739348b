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
	identity(): ProcessIdentity | undefined;
};

/**
 * All living processes that have a command line. One that is about to become another program has none for
 * a moment; `patient` waits for the new one, which takes a second look at each thread of the kernel.
 */
export function* allProcesses(how: "at once" | "patient"): Generator<TableEntry> {
	const read = how === "patient" ? readLoaded : readIfAllowed;
	for (const name of readdirSync("/proc")) {
		const pid = Number(name);
		if (!Number.isSafeInteger(pid)) continue;
		const words = read(pid, "cmdline")?.split("\0");
		if (words === undefined || words.length <= 1) continue;
		const environment = () => read(pid, "environ")?.split("\0") ?? [];
		yield { pid, words, environment, identity: () => identify(pid) };
	}
}

/** Living processes, of this user, that have `NAME=value` in the environment they were started with. */
export function processesWith(variable: string): ProcessIdentity[] {
	const found: ProcessIdentity[] = [];
	for (const { environment, identity } of allProcesses("patient")) {
		if (!environment().includes(variable)) continue;
		const process = identity();
		if (process !== undefined) found.push(process);
	}
	return found;
}

/**
 * Living processes that run a command: its words are the last of theirs, since the command may be a
 * script, and a path where a name was given.
 */
export function processesRunning([file = "", ...rest]: readonly string[]): ProcessIdentity[] {
	const found: ProcessIdentity[] = [];
	for (const { words, identity } of allProcesses("patient")) {
		// The last word of /proc/PID/cmdline is ended by a NUL like the others.
		const own = words.slice(0, -1);
		const at = own.length - rest.length - 1;
		if (at < 0 || basename(own[at] ?? "") !== basename(file)) continue;
		if (!rest.every((word, index) => own[at + 1 + index] === word)) continue;
		const process = identity();
		if (process !== undefined) found.push(process);
	}
	return found;
}

/** CPU time that a process and its ended children have used, in ms; 0 where it is gone. */
export function cpuTime(pid: number): number {
	const stat = readIfAllowed(pid, "stat");
	// A tick is a hundredth of a second (sysconf(_SC_CLK_TCK) on Linux).
	return stat === undefined ? 0 : parseStat(stat).cpuTime * 10;
}

/** A program is loaded within milliseconds, where it has the processor; what takes longer waits for a disk. */
const loadedMs = 1000;

/** The file of a process; where it is about to become another program, that of the new one. */
function readLoaded(pid: number, file: "cmdline" | "environ"): string | undefined {
	const deadline = performance.now() + loadedMs;
	for (;;) {
		const text = readIfAllowed(pid, file);
		if (text !== "" || performance.now() > deadline) return text;
		const stat = readIfAllowed(pid, "stat");
		if (stat === undefined) return undefined;
		const { alive, kernel, sizes } = parseStat(stat);
		if (!alive || kernel || sizes[file] === 0) return text;
		Atomics.wait(nothing, 0, 0, 1);
	}
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

/** Whether a process runs as our own user; the owner of its /proc entry need not be that. */
export function isOwn(pid: number): boolean {
	const uid = /^Uid:\s*(\d+)/m.exec(readIfAllowed(pid, "status") ?? "")?.[1];
	return uid !== undefined && Number(uid) === process.getuid?.();
}
