import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { closeSync, fsyncSync, openSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Pair } from "../pair/pair.ts";
import { runToEnd } from "../pair/run.ts";
import { growLog } from "./mails.ts";
import {
	builtPair,
	FlushedPosition,
	flushedUpTo,
	noReplay,
	restMirror,
	sizeOf,
	startRedoLoop,
} from "./mirror.ts";
import { clock, median, megabytes, type Say, type Size, short } from "./numbers.ts";
import { PlainSsh } from "./plain-ssh.ts";
import { cpuSeconds, loopPid, served } from "./processes.ts";

/** Seconds from the first byte on; CPU seconds of all processes of each end, sshd and ssh included. */
type Run = { seconds: number; syncedSeconds: number; cpuLive: number; cpuMirror: number };

/** A large redo log that the mirror has nothing of, beside `cat` of the same file over ssh. */
export async function benchCatchUp(size: Size, say: Say): Promise<void> {
	const [bytes, rounds] = size === "quick" ? [40e6, 1] : [300e6, 3];
	for (const body of ["text", "attachment"] as const) {
		const ours: Run[] = [];
		const plain: Run[] = [];
		let zstd = "";
		for (let i = 0; i < rounds; i++) {
			await using pair = await builtPair({ settings: noReplay });
			await restMirror(pair);
			const log = pair.a.path("redolog/redo.log");
			const total = growLog(log, bytes, body);
			const ssh = PlainSsh.make(pair);
			plain.push(await cat(pair, ssh, log));
			ours.push(await receive(pair, total));
			if (i === 0) zstd = await ratio(log, total);
		}
		say(
			`catch-up of ${short(megabytes(bytes))} MB of ${body}s (zstd -1: ${zstd}), median of ${rounds}:`,
		);
		tell("live-syncd, all on disk", ours, bytes, say);
		tell("ssh cat >file", plain, bytes, say);
		const synced = median(plain.map((run) => run.syncedSeconds));
		say(`    and sync of the file: ${short(megabytes(bytes) / synced)} MB/s`);
	}
}

function tell(name: string, runs: readonly Run[], bytes: number, say: Say): void {
	const of = (key: keyof Run) => median(runs.map((run) => run[key]));
	say(
		`  ${name.padEnd(24)} ${short(megabytes(bytes) / of("seconds"))} MB/s, CPU live ${short(of("cpuLive"))} s, mirror ${short(of("cpuMirror"))} s`,
	);
}

async function receive(pair: Pair, total: number): Promise<Run> {
	using position = new FlushedPosition(pair);
	const before = position.get();
	startRedoLoop(pair);
	while (position.get() === before) await sleep(1);
	const began = clock();
	await flushedUpTo(pair, total);
	const seconds = (clock() - began) / 1000;
	const stream = served(pair.a).find(({ verb }) => verb === "stream");
	const loop = loopPid(pair.b, "redo");
	return {
		seconds,
		syncedSeconds: seconds,
		cpuLive: cpuSeconds(stream?.session ?? []),
		cpuMirror: cpuSeconds(loop === undefined ? [] : [loop]),
	};
}

async function cat(pair: Pair, ssh: PlainSsh, log: string): Promise<Run> {
	const target = join(pair.directory, "cat");
	// The session stays open, so that what it took can be read.
	const child: ChildProcess = ssh.into(target, `cat ${log}; read end`);
	while (sizeOf(target) === 0) await sleep(1);
	const began = clock();
	const total = sizeOf(log);
	while (sizeOf(target) < total) await sleep(1);
	const seconds = (clock() - began) / 1000;
	const file = openSync(target, "r+");
	fsyncSync(file);
	closeSync(file);
	const syncedSeconds = (clock() - began) / 1000;
	await sleep(50);
	const session = pair.a.strayProcesses().map(({ pid }) => pid);
	const run = {
		seconds,
		syncedSeconds,
		cpuLive: cpuSeconds(session.filter((pid) => pid !== child.pid)),
		cpuMirror: cpuSeconds([child.pid ?? 0]),
	};
	child.stdin?.end();
	await once(child, "exit");
	rmSync(target);
	return run;
}

async function ratio(log: string, total: number): Promise<string> {
	const { stdout } = await runToEnd("sh", ["-c", 'zstd -1 -c "$0" | wc -c', log]);
	return Number(stdout) > 0 ? `1:${short(total / Number(stdout))}` : "unknown";
}
