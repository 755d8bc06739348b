import type { Config } from "../../services/config.ts";
import { type HeldLock, readLockOwner, takeLock } from "../../services/lock.ts";
import type { Logger } from "../../services/log/logger.ts";
import { isAlive } from "../../services/processes.ts";

const tellAfterMs = 500;

/**
 * `start` and `stop` take turns on a server, as what one looks at the other changes: two starts would
 * start two redo loops, and a start beside a stop would follow again what is about to be made live. A kill
 * ends both before it takes its own.
 * Throws where another one is still at work after `patienceMs`.
 */
export async function takeTurn(
	{ base }: Config,
	purpose: "start" | "stop" | "kill",
	patienceMs: number,
	log: Logger,
): Promise<HeldLock> {
	const tell = (holder: string) => process.stdout.write(`Waiting for ${holder} to end...\n`);
	try {
		return await takeLock(base.commandLock, {
			purpose,
			signal: new AbortController().signal,
			log,
			timeoutMs: patienceMs,
			onLongWait: { afterMs: tellAfterMs, tell },
		});
	} catch (error) {
		const owner = await readLockOwner(base.commandLock);
		if (owner === undefined || !isAlive(owner.process)) throw error;
		throw new Error(
			`live-syncd is at work here already: process ${owner.process.pid} (${owner.purpose}); wait for its end, or end it and all else with live-syncd kill`,
			{ cause: error },
		);
	}
}
