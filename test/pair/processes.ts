import { readdirSync, readFileSync, rmSync } from "node:fs";
import { parseStat } from "../../src/formats/proc-stat.ts";

/**
 * Which processes belong to a simulated host. Each is started with LIVE_SYNC_HOST in its environment,
 * which its children inherit. sshd writes its title over that place and starts sessions with a clean
 * environment, so the children of anything that is marked count too, as does whatever names the
 * host's directory in its command line.
 */
export type HostProcess = {
	readonly pid: number;
	readonly parent: number;
	readonly command: string;
};

/** Every living process that belongs to one of these hosts, given by marker and directory. */
export function processesOf(...hosts: { marker: string; directory: string }[]): HostProcess[] {
	const all = readdirSync("/proc").flatMap((name) =>
		/^\d+$/.test(name) ? (look(Number(name)) ?? []) : [],
	);
	const found = new Set<number>();
	for (const { pid, environment, command } of all) {
		const marked = hosts.some(
			({ marker, directory }) =>
				environment.includes(`LIVE_SYNC_HOST=${marker}\0`) || command.includes(`${directory}/`),
		);
		if (marked && pid !== process.pid) found.add(pid);
	}
	for (let before = -1; before !== found.size; ) {
		before = found.size;
		for (const { pid, parent } of all) if (found.has(parent)) found.add(pid);
	}
	found.delete(process.pid);
	return all
		.filter(({ pid }) => found.has(pid))
		.map(({ pid, parent, command }) => ({ pid, parent, command }));
}

/**
 * Kills whatever belongs to these hosts, again and again until nothing is left. A process on its way
 * out has no environment any more that shows whose it is, and its sockets are still there.
 */
export function killAll(...hosts: { marker: string; directory: string }[]): void {
	const deadline = Date.now() + 5000;
	const killed = stopAll(deadline, hosts);
	for (const pid of killed) signal(pid, "SIGKILL");
	while (Date.now() < deadline) {
		const left = processesOf(...hosts);
		if (left.length === 0 && ![...killed].some(lives)) return;
		for (const { pid } of left) {
			signal(pid, "SIGKILL");
			killed.add(pid);
		}
		Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
	}
}

/**
 * A session that sshd starts just now is known only as its child, and goes on to serve its client when sshd is
 * killed before it is seen. So nothing is killed while anything can still start something.
 */
function stopAll(deadline: number, hosts: { marker: string; directory: string }[]): Set<number> {
	const stopped = new Set<number>();
	while (Date.now() < deadline) {
		const more = processesOf(...hosts).filter(({ pid }) => !stopped.has(pid));
		if (more.length === 0) break;
		for (const { pid } of more) {
			signal(pid, "SIGSTOP");
			stopped.add(pid);
		}
	}
	return stopped;
}

/** Kills and removes all that a pair left on this machine. Does not wait on anything, so that a signal handler can call it. */
export function sweep(directory: string, hosts: { marker: string; directory: string }[]): void {
	killAll(...hosts);
	rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
}

/** Whether the signal could be delivered; a process that is gone is no failure. */
export function signal(pid: number, name: NodeJS.Signals | 0): boolean {
	try {
		process.kill(pid, name);
		return true;
	} catch {
		return false;
	}
}

/** Alive, and not merely not yet reaped. */
export const lives = (pid: number): boolean => pid > 0 && look(pid) !== undefined;

function look(pid: number): (HostProcess & { environment: string }) | undefined {
	try {
		const { alive, parent } = parseStat(readFileSync(`/proc/${pid}/stat`, "latin1"));
		if (!alive) return undefined;
		return {
			pid,
			parent,
			command: readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").trim(),
			environment: readOwn(`/proc/${pid}/environ`),
		};
	} catch {
		return undefined; // ended while we looked
	}
}

/** The environment of another user's process is not ours to read, and such a process is not ours. */
function readOwn(path: string): string {
	try {
		return readFileSync(path, "utf8");
	} catch {
		return "";
	}
}
