import { Refusal } from "../../../errors.ts";
import {
	comparePositions,
	formatPosition,
	type Position,
} from "../../../formats/redolog/position.ts";
import {
	formatReplayedPosition,
	parseReplayedPosition,
	type ReplayedPosition,
	startAt,
} from "../../../formats/replay/replayed-position.ts";
import type { Config } from "../../../services/config.ts";
import { readIfThere, writeDurably } from "../../../services/files.ts";
import { otherLastBase, recordBase } from "../../../services/one-base.ts";
import { type BasePaths, basePaths } from "../../../services/paths.ts";
import { endOfLog } from "../../../services/redolog/open-log.ts";
import { readProvenance } from "../../../services/redolog/provenance.ts";
import { initialPosition, lostPositionHint, walkWhole } from "./initial-position.ts";

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
		lostPositionHint,
	);
}

/** Atomic, and on disk when it returns. */
export async function writeReplayed(config: Config, position: ReplayedPosition): Promise<void> {
	await recordBase(config);
	await writeDurably(config.base.replayed, formatReplayedPosition(position));
}

/**
 * What another base directory has replayed since must not be executed again, and what it has yet to replay
 * is not ours to pass over. Throws a Refusal (other-base) where one has come further than ours.
 */
export async function refuseBehindOtherBase(config: Config): Promise<void> {
	const other = await otherLastBase(config);
	if (other === undefined) return;
	const theirs = await positionIn(basePaths(other));
	const ours = await positionIn(config.base);
	if (theirs === undefined || (ours && comparePositions(ours, theirs) >= 0)) return;
	throw new Refusal(
		"other-base",
		`another base directory, ${other}, has brought the message store in ${config.zimbra.home} to ${formatPosition(theirs)}, and ${config.base.base} ${ours === undefined ? "knows nothing of it" : `only knows of ${formatPosition(ours)}`}`,
		`go on with that one: live-syncd --config ${other}/live_sync.conf stop, or start to follow on; if ${config.base.base} is to take its place, stop that one and take its whole status/ along; if it is of a time before the last initial copy, rename ${other}/status`,
	);
}

async function positionIn({ replayed }: BasePaths): Promise<Position | undefined> {
	// A base directory that is gone, or another user's by now, has no say.
	const text = await readIfThere(replayed).catch(() => undefined);
	const position = text === undefined ? undefined : parseReplayedPosition(text);
	return position && { sequence: position.log.sequence, offset: position.offset };
}

/**
 * Whether bytes of a live server were received here, so that there may be some to replay. Throws a Refusal
 * (position-lost, other-base) where that cannot be told: without provenance nothing was, but then the position that
 * `start` has written is the end of the log, unless Zimbra ran here since, or the provenance was lost.
 */
export async function hasReceived(config: Config): Promise<boolean> {
	const { base, zimbra } = config;
	await refuseBehindOtherBase(config);
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
 * unclean-copy, position-lost, other-base.
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
