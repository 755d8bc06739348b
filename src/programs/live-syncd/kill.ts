import { rm } from "node:fs/promises";
import type { Config } from "../../services/config.ts";
import { readLockOwner, removeLock } from "../../services/lock.ts";
import { readPidFile } from "../../services/pid-file.ts";
import {
	type ProcessIdentity,
	sendSignal,
	signalGroup,
	waitForEnd,
} from "../../services/processes.ts";

const endMs = 5000;

/**
 * Ends both loops and what they have started, at once and without a word to the live server. What
 * was flushed and replayed stays; the next `start` goes on from there.
 */
export async function kill({ base }: Config): Promise<number> {
	const owner = await readLockOwner(base.lock);
	const loops = [await readPidFile(base.pidRedo), await readPidFile(base.pidLdap)].filter(
		(loop) => loop !== undefined,
	);
	for (const loop of loops) sendSignal(loop, "SIGKILL");
	// A replay run leads a process group of its own, which does not end with the loop.
	for (const child of owner?.children ?? []) signalGroup(child, "SIGKILL");
	const ended: ProcessIdentity[] = [...loops, ...(owner?.children ?? [])];
	for (const each of ended) {
		if (!(await waitForEnd(each, endMs))) {
			process.stderr.write(`live-syncd: process ${each.pid} does not end\n`);
			return 1;
		}
	}
	await removeLock(base.lock);
	for (const file of [base.pidRedo, base.pidLdap, base.stopFile]) await rm(file, { force: true });
	return 0;
}
