import { Refusal } from "../../../errors.ts";
import { formatPosition } from "../../../formats/redolog/position.ts";
import {
	formatReplayedPosition,
	parseReplayedPosition,
	type ReplayedPosition,
	startAt,
} from "../../../formats/replay/replayed-position.ts";
import type { Config } from "../../../services/config.ts";
import { readIfThere, writeDurably } from "../../../services/files.ts";
import { endOfLog } from "../../../services/redolog/open-log.ts";
import { readProvenance } from "../../../services/redolog/provenance.ts";
import { initialPosition, walkWhole } from "./initial-position.ts";

/** How far the store has been brought; throws a Refusal where that is not known. */
export async function readReplayed({ base }: Config): Promise<ReplayedPosition> {
	const text = await readIfThere(base.replayed);
	const position = text === undefined ? undefined : parseReplayedPosition(text);
	if (position !== undefined) return position;
	throw new Refusal(
		"position-lost",
		text === undefined
			? `${base.replayed}, the file that tells how far the redo log was replayed, is missing`
			: `${base.replayed}, the file that tells how far the redo log was replayed, cannot be read`,
		`put it back from a backup of ${base.base}; without it nobody knows what to replay, and the mirror must be copied anew: docs/runbooks.md, initial copy`,
	);
}

/** Atomic, and on disk when it returns. */
export async function writeReplayed({ base }: Config, position: ReplayedPosition): Promise<void> {
	await writeDurably(base.replayed, formatReplayedPosition(position));
}

/**
 * Whether bytes of a live server were received here, so that there may be some to replay. Throws a Refusal
 * (position-lost) where that cannot be told: without provenance nothing was, but then the position that
 * `start` has written is the end of the log, unless Zimbra ran here since, or the provenance was lost.
 */
export async function hasReceived(config: Config): Promise<boolean> {
	const { base, zimbra } = config;
	if ((await readProvenance(zimbra.mirrorMarker)) !== undefined) return true;
	if ((await readIfThere(base.replayed)) === undefined) return false;
	const { log, offset } = await readReplayed(config);
	const end = await endOfLog(zimbra);
	const same = end?.header.sequence === log.sequence && end.header.createTime === log.createTime;
	if (same && end.size === offset) return false;
	const at = formatPosition({ sequence: log.sequence, offset });
	throw new Refusal(
		"position-lost",
		`${base.replayed} stands at ${at}, which is not the end of the redo log here, and ${zimbra.mirrorMarker}, which tells what of that log was received, is missing`,
		`what mends it depends on how it came to this: docs/errors.md has a section position-lost; to be sure, make the mirror anew: docs/runbooks.md, initial copy`,
	);
}

/**
 * The replayed position; at the very first start the end of the redo log that came with the initial
 * copy. Must be called before the first byte is received. Throws a Refusal: no-initial-copy,
 * unclean-copy, position-lost.
 */
export async function establishReplayed(
	config: Config,
	timeline: number,
): Promise<ReplayedPosition> {
	const { position, isNew } = await findReplayed(config, timeline);
	if (isNew) await writeReplayed(config, position);
	return position;
}

/** The same, and writes nothing. */
export async function findReplayed(
	config: Config,
	timeline: number,
): Promise<{ position: ReplayedPosition; isNew: boolean }> {
	await hasReceived(config);
	if ((await readIfThere(config.base.replayed)) !== undefined) {
		return { position: await readReplayed(config), isNew: false };
	}
	const { identity, offset } = await initialPosition(config, timeline, walkWhole);
	return { position: startAt(identity, offset), isNew: true };
}
