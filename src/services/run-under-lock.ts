import { hasCode } from "../errors.ts";
import { failPoint } from "./fail-point.ts";
import { type HeldLock, livingChildren, readLockOwner } from "./lock.ts";
import { isAlive, signalGroup } from "./processes.ts";
import type { Run } from "./run.ts";

/**
 * Names what is run as children of the lock: it outlives a holder that is killed, and nobody may begin
 * the same beside it. Without room for a name it is run all the same: LDAP that stays stopped because
 * the disk is full would be worse than a holder that is killed over a child without one.
 */
export function recorded(run: Run, lock: HeldLock): Run {
	return async (command, options) => {
		let written: Promise<void> | undefined;
		await lock.announceChild(command).catch(unlessFull);
		const result = await run(command, {
			...options,
			onStart(leader) {
				failPoint("child:started");
				options.onStart?.(leader);
				written = lock.addChild(leader);
				written.catch(() => undefined);
			},
		});
		// One that ended at once never had a name.
		await (written ?? lock.announceChild(undefined)).catch(unlessFull);
		return result;
	};
}

function unlessFull(error: unknown): void {
	if (!hasCode(error, "ENOSPC", "EDQUOT")) throw error;
}

/** Ends what a holder that was killed had {@link recorded}. */
export async function endOrphans(lock: string): Promise<void> {
	const owner = await readLockOwner(lock);
	if (owner === undefined || isAlive(owner.process)) return;
	for (const child of livingChildren(owner)) signalGroup(child, "SIGKILL");
}
