import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { hasCode } from "../errors.ts";
import { parseStat } from "../formats/proc-stat.ts";
import { readProc } from "./proc.ts";

/**
 * A process that is told from a later one with the same number: the kernel gives numbers again, so
 * a pid alone proves nothing (source: proc(5), field 22 of /proc/PID/stat).
 */
export type ProcessIdentity = {
	readonly pid: number;
	/** clock ticks since boot */
	readonly startTime: number;
	/** the boot it was started in; ticks of another boot mean nothing */
	readonly bootId: string;
};

/** The process of that number, if it lives and is not hidden from us (hidepid); a zombie does not live. */
export function identify(pid: number): ProcessIdentity | undefined {
	let stat: string;
	try {
		stat = readProc(pid, "stat");
	} catch (error) {
		// With hidepid=1 the kernel says EPERM of the process of another user.
		if (hasCode(error, "ENOENT", "ESRCH", "EPERM", "EACCES")) return undefined;
		throw error;
	}
	const { alive, startTime } = parseStat(stat);
	return alive ? { pid, startTime, bootId: bootId() } : undefined;
}

export function isAlive(process: ProcessIdentity): boolean {
	const now = identify(process.pid);
	return now !== undefined && now.startTime === process.startTime && now.bootId === process.bootId;
}

export function ownIdentity(): ProcessIdentity {
	const own = identify(process.pid);
	if (own === undefined) throw new Error("/proc does not show this process; is it mounted?");
	return own;
}

/** Sends a signal to exactly that process; false where it no longer lives. */
export function sendSignal(target: ProcessIdentity, signal: NodeJS.Signals): boolean {
	return isAlive(target) && kill(target.pid, signal);
}

/** Sends a signal to the process group that this process leads. */
export function signalGroup(leader: ProcessIdentity, signal: NodeJS.Signals): boolean {
	return kill(-leader.pid, signal);
}

function kill(pid: number, signal: NodeJS.Signals): boolean {
	try {
		process.kill(pid, signal);
		return true;
	} catch (error) {
		if (hasCode(error, "ESRCH")) return false;
		throw error;
	}
}

/** Waits until the process is gone; false where it still lives after `timeoutMs`. */
export async function waitForEnd(target: ProcessIdentity, timeoutMs: number): Promise<boolean> {
	const deadline = performance.now() + timeoutMs;
	while (isAlive(target)) {
		if (performance.now() > deadline) return false;
		await sleep(20);
	}
	return true;
}

/**
 * ms; a new process has its parent's command line and environment until it becomes what it is to be, and
 * goes on when the parent is killed meanwhile.
 */
export const justStartedMs = 500;

/** Also a JVM with a large heap is gone by then; what is not waits for a disk that does not answer. */
const killedMs = 10_000;

/**
 * Kills what `find` finds, again and again until it finds nothing; gives what there was.
 * @param what names the processes to an admin
 * Throws where one does not end.
 */
export async function killAll(
	what: string,
	find: () => readonly ProcessIdentity[] | Promise<readonly ProcessIdentity[]>,
	timeoutMs = killedMs,
): Promise<ProcessIdentity[]> {
	const killed = new Map<number, ProcessIdentity>();
	const deadline = performance.now() + timeoutMs;
	for (;;) {
		const left = await find();
		const [first] = left;
		if (first === undefined) return [...killed.values()];
		if (performance.now() > deadline) {
			throw new Error(
				`process ${first.pid}, ${what}, was killed and is still there: it may wait for a disk; look for errors of disks in the kernel log (dmesg)`,
			);
		}
		for (const each of left) {
			killed.set(each.pid, each);
			sendSignal(each, "SIGKILL");
		}
		for (const each of left) await waitForEnd(each, deadline - performance.now());
	}
}

let knownBootId: string | undefined;

export function bootId(): string {
	knownBootId ??= readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim();
	return knownBootId;
}

/** Reads back an identity that was kept as JSON; undefined for anything else. */
export function parseIdentity(value: unknown): ProcessIdentity | undefined {
	if (typeof value !== "object" || value === null) return undefined;
	const { pid, startTime, bootId } = value as Partial<Record<keyof ProcessIdentity, unknown>>;
	if (typeof pid !== "number" || typeof startTime !== "number" || typeof bootId !== "string") {
		return undefined;
	}
	return Number.isSafeInteger(pid) && pid > 1 ? { pid, startTime, bootId } : undefined;
}
