import type { Config } from "../../services/config.ts";
import { type HeldLock, readLockOwner, takeLock } from "../../services/lock.ts";
import type { Logger } from "../../services/log/logger.ts";
import { isAlive } from "../../services/processes.ts";

/** Longer than it takes to find that a holder is dead and to take its turn over. */
const refuseAfterMs = 2000;
const tellAfterMs = 500;

/**
 * `start` and `stop` take turns on a server, as what one looks at the other changes: two starts would
 * start two redo loops, and a start beside a stop would follow again what is about to be made live.
 * Throws where another one is at work.
 */
export async function takeTurn({ base }: Config, purpose: string, log: Logger): Promise<HeldLock> {
	const { signal } = new AbortController();
	try {
		return await takeLock(base.commandLock, { purpose, signal, log, timeoutMs: refuseAfterMs });
	} catch (error) {
		const owner = await readLockOwner(base.commandLock);
		if (owner === undefined || !isAlive(owner.process)) throw error;
		throw new Error(
			`live-syncd is at work here already: process ${owner.process.pid} (${owner.purpose}); wait for its end, or end it and all else with live-syncd kill`,
			{ cause: error },
		);
	}
}

/** The same, but waits for the other one, which comes to its end: whoever stops may be at a failover. */
export async function awaitTurn({ base }: Config, purpose: string, log: Logger): Promise<HeldLock> {
	const tell = (holder: string) => process.stdout.write(`Waiting for ${holder} to end...\n`);
	const { signal } = new AbortController();
	const onLongWait = { afterMs: tellAfterMs, tell };
	return await takeLock(base.commandLock, { purpose, signal, log, onLongWait });
}
