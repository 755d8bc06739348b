import { rm } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { Config } from "../../services/config.ts";
import { endRound } from "../../services/ldap/round-processes.ts";
import { livingChildren, readLockOwner, removeLock } from "../../services/lock.ts";
import { makeLogger } from "../../services/log/logger.ts";
import {
	isAlive,
	justStartedMs,
	sendSignal,
	signalGroup,
	waitForEnd,
} from "../../services/processes.ts";
import { readRunRecord } from "../../services/zimbra/run-record.ts";
import { endPlayer } from "../../services/zimbra/zmplayredo.ts";
import { findLoops } from "./loop.ts";
import { repairLdap } from "./repair-ldap.ts";
import { takeTurn } from "./turn.ts";

const endMs = 5000;
const purpose = "kill";

/**
 * Ends both loops and what they have started, at once and without a word to the live server. What
 * was flushed and replayed stays; the next `start` goes on from there.
 */
export async function kill(config: Config): Promise<number> {
	const { base } = config;
	// First of all: a `start` would start what is ended here, a `stop` would go on without it.
	const command = await readLockOwner(base.commandLock);
	if (command !== undefined && command.purpose !== purpose) {
		if (sendSignal(command.process, "SIGKILL")) await waitForEnd(command.process, endMs);
	}
	const log = (await makeLogger(base.log, config.settings)).child({ program: purpose });
	// Nor may one begin now. But nothing, a full disk least of all, is to keep this from its work.
	await using _turn = await takeTurn(config, purpose, endMs, log).catch(() => undefined);
	const owner = await readLockOwner(base.lock);
	const loops = [...(await findLoops(config, "redo")), ...(await findLoops(config, "ldap"))];
	// Whoever holds the lock is one of ours: a loop, or a `stop` that replays.
	if (owner !== undefined && isAlive(owner.process)) loops.push(owner.process);
	for (const loop of loops) sendSignal(loop, "SIGKILL");
	// Until its end a loop may start something.
	for (const loop of loops) await waitForEnd(loop, endMs);
	// What was just started does not bear its name yet.
	if (loops.length > 0) await sleep(justStartedMs);
	// A replay run and a swap of LDAP lead process groups of their own, which do not end with the loop.
	const run = await readRunRecord(config).catch(() => undefined);
	if (run?.phase === "running") await endPlayer(run);
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
	await repairLdap(config, log);
	return 0;
}
