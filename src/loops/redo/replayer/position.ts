import { rm } from "node:fs/promises";
import { Refusal } from "../../../errors.ts";
import {
	formatReplayedPosition,
	parseReplayedPosition,
	type ReplayedPosition,
	startAt,
} from "../../../formats/replay/replayed-position.ts";
import type { Config } from "../../../services/config.ts";
import { readIfThere, writeDurably } from "../../../services/files.ts";
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
 * As long as nothing was received here, Zimbra may be started without a word to us: a position that an
 * earlier `start` has written may be behind what the store has by now.
 */
export async function forgetUnused({ base, zimbra }: Config): Promise<void> {
	if ((await readProvenance(zimbra.mirrorMarker)) !== undefined) return;
	await rm(base.replayed, { force: true });
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
	if ((await readIfThere(config.base.replayed)) !== undefined) return await readReplayed(config);
	const { identity, offset } = await initialPosition(config, timeline, walkWhole);
	const position = startAt(identity, offset);
	await writeReplayed(config, position);
	return position;
}
