import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { parseStat } from "../../src/formats/proc-stat.ts";
import type { Host } from "../pair/host.ts";

const ticks = Number(execFileSync("getconf", ["CLK_TCK"], { encoding: "utf8" }));

/** CPU seconds of processes that still live, and of their children that have ended. */
export function cpuSeconds(pids: readonly number[]): number {
	return pids.map(cpuOf).reduce((sum, each) => sum + each, 0);
}

function cpuOf(pid: number): number {
	const stat = textOf(`/proc/${pid}/stat`);
	return stat === "" ? 0 : parseStat(stat).cpuTime / ticks;
}

export type Memory = {
	/** the most that it has had, MB; pages of its executable, which others share, are part of it */
	readonly peak: number;
	/** what it alone has just now, MB */
	readonly own: number;
};

/** Undefined where the process has ended. */
export function memoryOf(pid: number): Memory | undefined {
	const status = textOf(`/proc/${pid}/status`);
	const megabytes = (name: string) =>
		(Number(new RegExp(`${name}:\\s+(\\d+) kB`).exec(status)?.[1]) * 1024) / 1e6;
	const memory = { peak: megabytes("VmHWM"), own: megabytes("RssAnon") };
	return Number.isNaN(memory.peak) ? undefined : memory;
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
