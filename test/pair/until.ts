import { setTimeout as sleep } from "node:timers/promises";

/** Waits for something that no event tells; fails after a time that only a hang needs. */
export async function until(
	what: string,
	condition: () => boolean | Promise<boolean>,
	seconds = 120,
): Promise<void> {
	const deadline = Date.now() + seconds * 1000;
	while (!(await condition())) {
		if (Date.now() > deadline) throw new Error(`still not so after ${seconds} s: ${what}`);
		await sleep(20);
	}
}
