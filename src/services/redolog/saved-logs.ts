import { rm, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { hasCode } from "../../errors.ts";
import { isRecord, parseJson } from "../../formats/json.ts";
import { currentLogName } from "../../formats/redolog/log-name.ts";
import { comparePositions, type LogIdentity } from "../../formats/redolog/position.ts";
import { oldestNeeded, type ReplayedPosition } from "../../formats/replay/replayed-position.ts";
import type { Config } from "../config.ts";
import { keepDurably, makeDirectory, readIfThere, renameDurably, writeDurably } from "../files.ts";
import { findLog, listArchive, openLog } from "./open-log.ts";
import { readProvenance } from "./provenance.ts";

/**
 * What this mirror has received and not replayed, kept in status/unreplayed since Zimbra was started here
 * without `stop`: from then on Zimbra rolls these logs over, and may delete them or have them moved away.
 * The files are second names of the logs, and take no room where redolog/ is on the same file system; the
 * log that was being received bears the name redo.log there, whatever Zimbra calls it now.
 */
export type SavedLogs = {
	readonly version: 1;
	/** the log that was being received, and how much of it */
	readonly identity: LogIdentity;
	readonly upTo: number;
	/** the digest chain at `upTo`, in hex */
	readonly digest: string;
	/** ms since the epoch, of this server's clock: when the last of it was flushed */
	readonly flushedAt: number;
	/** the last record boundary at or below `upTo`; missing while Zimbra may still cut what is behind it */
	readonly end?: number;
};

const recordOf = ({ base }: Config): string => join(base.unreplayed, "received.json");

/** The saved logs; undefined where there are none, or where a crash has left some of them only. */
export async function readSavedLogs(config: Config): Promise<SavedLogs | undefined> {
	const path = recordOf(config);
	const text = await readIfThere(path);
	if (text === undefined) return undefined;
	const saved = parseJson(text);
	if (isRecord(saved) && saved.version === 1) return saved as SavedLogs;
	throw new Error(
		`${path} is damaged, so which part of the redo logs beside it was received is not known; move ${config.base.unreplayed} to another place, and keep it: live-syncd stop then replays what is in ${config.zimbra.redolog}`,
	);
}

/** Where the saved logs lie, in the words of a Zimbra installation. */
export const savedPlaces = ({ base, zimbra }: Config): Config["zimbra"] => ({
	...zimbra,
	archive: base.unreplayed,
	currentLog: join(base.unreplayed, currentLogName),
});

/** Whether a position is one of the logs that were saved: else they are of an earlier life. */
export const isSavedFor = ({ identity, upTo }: SavedLogs, { log, offset }: ReplayedPosition) =>
	comparePositions({ sequence: log.sequence, offset }, { ...identity, offset: upTo }) <= 0 &&
	(log.sequence !== identity.sequence || log.createTime === identity.createTime);

/**
 * Saves the logs that a replay from `position` needs, if that has not been done yet; durable when it
 * returns. Undefined where nothing was received.
 */
export async function saveReceivedLogs(
	config: Config,
	position: ReplayedPosition,
): Promise<SavedLogs | undefined> {
	const { base, zimbra } = config;
	const provenance = await readProvenance(zimbra.mirrorMarker);
	if (provenance === undefined) return undefined;
	const { identity, upTo, digest } = provenance;
	const known = await readSavedLogs(config);
	const goesOn = known !== undefined && known.digest === digest && isSavedFor(known, position);
	if (!goesOn) await rm(base.unreplayed, { recursive: true, force: true });
	await makeDirectory(base.unreplayed);
	const save = async (path: string, name: string) => {
		await keepDurably(path, join(base.unreplayed, name)).catch((error: unknown) => {
			if (!hasCode(error, "EEXIST")) throw error;
		});
	};
	const oldest = oldestNeeded(position).sequence;
	const seen = new Set<number>();
	const { mtimeMs: flushedAt } = await stat(zimbra.mirrorMarker);
	// The archive first: a log that is rolled over meanwhile is then found under either name.
	const archived = (await listArchive(zimbra)).map(({ name }) => name);
	for (const name of [...archived, currentLogName]) {
		const path = name === currentLogName ? zimbra.currentLog : join(zimbra.archive, name);
		const log = await openLog(path);
		if (log === undefined) continue;
		await log.file.close();
		const { sequence, createTime } = log.header;
		const last = sequence === identity.sequence && createTime === identity.createTime;
		const earlier =
			sequence < identity.sequence && createTime <= identity.createTime && sequence >= oldest;
		if (!last && !earlier) continue;
		seen.add(sequence);
		await save(path, last ? currentLogName : name);
	}
	// An incremental backup takes logs away; and one that was missing may have been put back since.
	for (let sequence = oldest; sequence < identity.sequence; sequence++) {
		if (seen.has(sequence)) continue;
		const found = await findLog(zimbra, sequence, 0);
		if (found === undefined) continue;
		await using log = found;
		if (log.header.createTime <= identity.createTime) await save(log.path, basename(log.path));
	}
	if (goesOn) return known;
	const saved: SavedLogs = { version: 1, identity, upTo, digest, flushedAt };
	await writeSavedLogs(config, saved);
	return saved;
}

export async function writeSavedLogs(config: Config, saved: SavedLogs): Promise<void> {
	await writeDurably(recordOf(config), `${JSON.stringify(saved)}\n`);
}

/** They are replayed, or they are where they belong: nothing is saved any more. */
export async function dropSavedLogs({ base }: Config): Promise<void> {
	const gone = `${base.unreplayed}.removed`;
	await rm(gone, { recursive: true, force: true });
	try {
		await renameDurably(base.unreplayed, gone);
	} catch (error) {
		if (!hasCode(error, "ENOENT")) throw error;
	}
	await rm(gone, { recursive: true, force: true });
}
