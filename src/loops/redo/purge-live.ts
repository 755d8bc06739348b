import { setTimeout as sleep } from "node:timers/promises";
import { describe } from "../../errors.ts";
import type { Position } from "../../formats/redolog/position.ts";
import type { Config } from "../../services/config.ts";
import type { Logger } from "../../services/log/logger.ts";
import { ask } from "../../services/ssh/connect.ts";

const lookMs = 5000;
/** The live server keeps archives for days: it is enough to ask now and then. */
const betweenMs = 15 * 60_000;

/**
 * Asks the live server to remove archives that nobody needs any more, after replay has left another
 * log behind. What may go is decided there (invariant 5). Where incremental backups take the archives
 * away nothing is asked, as in the original.
 */
export async function purgeLive(
	config: Config,
	replayed: () => Position | undefined,
	log: Logger,
	signal: AbortSignal,
): Promise<void> {
	let asked: { sequence: number; at: number } | undefined;
	while (!signal.aborted) {
		await sleep(lookMs, undefined, { signal }).catch(() => undefined);
		const sequence = replayed()?.sequence;
		if (signal.aborted || sequence === undefined) continue;
		asked ??= { sequence, at: Number.NEGATIVE_INFINITY };
		if (sequence <= asked.sequence || performance.now() - asked.at < betweenMs) continue;
		asked = { sequence, at: performance.now() };
		try {
			const backups = await ask(
				config,
				"query_incremental",
				signal,
				config.settings.command_timeout,
			);
			if (backups.stdout.trim() === "true") continue;
			const answer = await ask(config, "purge", signal, config.settings.command_timeout);
			const facts = { exitCode: answer.exitCode, said: answer.stderr.trim() || undefined };
			log.info(facts, "asked the live server to purge its archive");
		} catch (error) {
			if (!signal.aborted) log.warn({ reason: describe(error) }, "the live server was not purged");
		}
	}
}
