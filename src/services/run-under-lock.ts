import { type HeldLock, readLockOwner } from "./lock.ts";
import { isAlive, signalGroup } from "./processes.ts";
import type { Run } from "./run.ts";

/**
 * Names what is run as children of the lock: it outlives a holder that is killed, and nobody may begin
 * the same beside it.
 */
export function recorded(run: Run, lock: HeldLock): Run {
	return async (command, options) => {
		let written: Promise<void> = Promise.resolve();
		const result = await run(command, {
			...options,
			onStart(leader) {
				options.onStart?.(leader);
				written = lock.addChild(leader);
				written.catch(() => undefined);
			},
		});
		await written;
		return result;
	};
}

/** Ends what a holder that was killed had {@link recorded}. */
export async function endOrphans(lock: string): Promise<void> {
	const owner = await readLockOwner(lock);
	if (owner === undefined || isAlive(owner.process)) return;
	for (const child of owner.children.filter(isAlive)) signalGroup(child, "SIGKILL");
}
