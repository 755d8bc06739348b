import { rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { oldestNeeded } from "../../formats/replay/replayed-position.ts";
import type { Config } from "../../services/config.ts";
import { syncDirectory } from "../../services/files.ts";
import type { Logger } from "../../services/log/logger.ts";
import { listArchive } from "../../services/redolog/open-log.ts";
import { readRunRecord } from "../../services/zimbra/run-record.ts";
import { readReplayed } from "./replayer/position.ts";

/**
 * Removes archives that this mirror does not need any more: below the oldest record that an open
 * transaction or a possible link still needs, below a run whose end is not settled, and older than
 * the retention time. Gives the names of those that are gone.
 * @param now ms since the epoch, by the clock that stamps files
 */
export async function removeReplayedArchives(
	config: Config,
	log: Logger,
	now = Date.now(),
): Promise<string[]> {
	const needed = [oldestNeeded(await readReplayed(config)).sequence];
	// A run that comes again begins where replay stands; its record may name an older place.
	const record = await readRunRecord(config);
	if (record !== undefined) needed.push(record.from.sequence);
	const floor = Math.min(...needed);
	const removed: string[] = [];
	for (const { name, sequence } of await listArchive(config.zimbra)) {
		if (sequence >= floor) continue;
		const path = join(config.zimbra.archive, name);
		// The time at which it was closed and verified here; the name's is of the live clock.
		const { mtimeMs } = await stat(path);
		if (now - mtimeMs < config.settings.retention) continue;
		await rm(path, { force: true });
		removed.push(name);
	}
	if (removed.length === 0) return removed;
	await syncDirectory(config.zimbra.archive);
	log.info(
		{ count: removed.length, newest: removed.at(-1), neededFrom: floor },
		"removed archives that have been replayed and are older than the retention time",
	);
	return removed;
}
