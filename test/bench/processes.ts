import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import type { Host } from "../pair/host.ts";

const ticks = Number(execFileSync("getconf", ["CLK_TCK"], { encoding: "utf8" }));

/** CPU seconds of processes that still live, and of their children that have ended. */
export function cpuSeconds(pids: readonly number[]): number {
	return pids.map(cpuOf).reduce((sum, each) => sum + each, 0);
}

function cpuOf(pid: number): number {
	const stat = textOf(`/proc/${pid}/stat`);
	const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
	// utime, stime, cutime, cstime: proc(5)
	return fields.slice(11, 15).reduce((sum, each) => sum + Number(each), 0) / ticks;
}

/** The most memory that a process has had, in MB; undefined where it has ended. */
export function peakMemory(pid: number): number | undefined {
	const found = /VmHWM:\s+(\d+) kB/.exec(textOf(`/proc/${pid}/status`))?.[1];
	return found === undefined ? undefined : (Number(found) * 1024) / 1e6;
}

export type Served = {
	/** what the client of this sync-commands asked for, without its words */
	readonly verb: string;
	readonly pid: number;
	/** this process and sshd's processes of its session */
	readonly session: readonly number[];
};

/** Each sync-commands that serves a request on this host just now. */
export function served(host: Host): Served[] {
	const all = host.strayProcesses();
	return all
		.filter(({ command }) => command.includes("dist/sync-commands"))
		.map(({ pid }) => {
			const asked = /SSH_ORIGINAL_COMMAND=([^\0]*)/.exec(textOf(`/proc/${pid}/environ`))?.[1] ?? "";
			const verb = asked.replace(/^\S*sync[-_]commands /, "").split(" ")[0] ?? "";
			const session = [pid];
			for (let each = all.find((one) => one.pid === pid); each !== undefined; ) {
				const { parent } = each;
				each = all.find((one) => one.pid === parent);
				if (each !== undefined) session.push(each.pid);
			}
			return { verb, pid, session };
		});
}

/** The process of a loop, by its pid file. */
export function loopPid(host: Host, loop: "redo" | "ldap"): number | undefined {
	return host.processes().find(({ command }) => command.includes(`loop ${loop}`))?.pid;
}

function textOf(path: string): string {
	try {
		return readFileSync(path, "latin1");
	} catch {
		return ""; // it has ended
	}
}
