import { rm } from "node:fs/promises";
import type { Config } from "../../services/config.ts";
import { endRound } from "../../services/ldap/round-processes.ts";
import { livingChildren, readLockOwner, removeLock } from "../../services/lock.ts";
import { makeLogger } from "../../services/log/logger.ts";
import { readPidFile } from "../../services/pid-file.ts";
import { isAlive, sendSignal, signalGroup, waitForEnd } from "../../services/processes.ts";
import { readRunRecord } from "../../services/zimbra/run-record.ts";
import { endPlayer } from "../../services/zimbra/zmplayredo.ts";
import { repairLdap } from "./repair-ldap.ts";

const endMs = 5000;

/**
 * Ends both loops and what they have started, at once and without a word to the live server. What
 * was flushed and replayed stays; the next `start` goes on from there.
 */
export async function kill(config: Config): Promise<number> {
	const { base } = config;
	// First of all: a `start` would start what is ended here, a `stop` would go on without it.
	const command = (await readLockOwner(base.commandLock))?.process;
	if (command !== undefined && sendSignal(command, "SIGKILL")) await waitForEnd(command, endMs);
	const owner = await readLockOwner(base.lock);
	const loops = [await readPidFile(base.pidRedo), await readPidFile(base.pidLdap)].filter(
		(loop) => loop !== undefined,
	);
	// Whoever holds the lock is one of ours: a loop, or a `stop` that replays.
	if (owner !== undefined && isAlive(owner.process)) loops.push(owner.process);
	for (const loop of loops) sendSignal(loop, "SIGKILL");
	// A replay run and a swap of LDAP lead process groups of their own, which do not end with the loop.
	const run = await readRunRecord(config).catch(() => undefined);
	if (run?.phase === "running") await endPlayer(run);
	for (const loop of loops) await waitForEnd(loop, endMs);
	// Asked again: until its end the holder may have started something.
	const left = await readLockOwner(base.lock);
	const children = left === undefined ? [] : livingChildren(left);
	for (const child of children) signalGroup(child, "SIGKILL");
	for (const each of [...loops, ...children]) {
		if (await waitForEnd(each, endMs)) continue;
		process.stderr.write(`live-syncd: process ${each.pid} does not end\n`);
		return 1;
	}
	// Only now: a loop that lives may start the next one.
	await endRound(config);
	for (const lock of [base.lock, base.commandLock]) await removeLock(lock);
	for (const file of [base.pidRedo, base.pidLdap, base.stopFile]) await rm(file, { force: true });
	const log = (await makeLogger(base.log, config.settings)).child({ program: "kill" });
	await repairLdap(config, log);
	return 0;
}
