import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync, readSync, statSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { createPair, type Pair, type PairOptions } from "../pair/pair.ts";
import { until } from "../pair/until.ts";
import { loopPid } from "./processes.ts";

/** A pair of the built executables; nothing of live-syncd runs yet. */
export function builtPair(options: PairOptions = {}): Promise<Pair> {
	return createPair({ ...options, program: "dist" });
}

/** No replay comes into what is measured. */
export const noReplay = { replay_settle: "60s", replay_interval: "1d" } as const;

export async function startMirror({ b }: Pair): Promise<void> {
	const { code, stdout, stderr } = await b.liveSyncd("start");
	if (code !== 0) throw new Error(`live-syncd start exited ${code}: ${stdout}${stderr}`);
}

/** A server that is a mirror already, with no loop running. */
export async function restMirror(pair: Pair): Promise<void> {
	await startMirror(pair);
	for (const loop of ["redo", "ldap"] as const) {
		const pid = loopPid(pair.b, loop);
		if (pid !== undefined) process.kill(pid, "SIGTERM");
	}
	await until("no loop runs", () => pair.b.strayProcesses().length === 0);
}

/** The redo loop alone, as `start` runs it. */
export function startRedoLoop({ b }: Pair): ChildProcess {
	return spawn(b.path("live_sync/live_syncd"), ["loop", "redo"], {
		env: b.environment,
		cwd: b.home,
		stdio: ["ignore", "ignore", "inherit"],
	});
}

/** Up to where the mirror says, on disk, that it has the log on disk. */
export class FlushedPosition implements Disposable {
	readonly path: string;
	#file: number | undefined;
	readonly #buffer = Buffer.alloc(4096);

	constructor({ b }: Pair) {
		this.path = b.path("redolog/.live_sync");
	}

	get(): number {
		if (sizeOf(this.path) === 0) return 0; // it has received nothing yet
		this.#file ??= openSync(this.path, "r");
		const length = readSync(this.#file, this.#buffer, 0, this.#buffer.length, 0);
		const text = this.#buffer.toString("latin1", 0, length);
		// The newer of two records, see services/redolog/provenance.ts.
		const found = [...text.matchAll(/"generation":(\d+).*?"upTo":(\d+)/g)];
		const newest = found.toSorted((one, other) => Number(other[1]) - Number(one[1]))[0];
		return Number(newest?.[2] ?? 0);
	}

	[Symbol.dispose](): void {
		if (this.#file !== undefined) closeSync(this.#file);
	}
}

export function sizeOf(path: string): number {
	return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}

export async function flushedUpTo(pair: Pair, size: number): Promise<void> {
	using flushed = new FlushedPosition(pair);
	while (flushed.get() < size) {
		await sleep(5);
		if (loopPid(pair.b, "redo") === undefined) {
			throw new Error(
				readFileSync(pair.b.path("live_sync/log/live_sync.log"), "utf8").slice(-2000),
			);
		}
	}
}
