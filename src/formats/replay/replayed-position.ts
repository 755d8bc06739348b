import { headerSize } from "../redolog/header.ts";
import type { LogIdentity, Position } from "../redolog/position.ts";
import type { Oddity } from "../redolog/record.ts";

/** Where some bytes stand, in a log of this mirror. */
export type Place = {
	readonly sequence: number;
	/** ms since the epoch, from the header of the log: tells logs of equal number apart */
	readonly createTime: number;
	readonly offset: number;
	readonly length: number;
};

/** A transaction whose change record was met, and no commit or abort record yet. */
export type OpenTransaction = {
	/** `time.counter` */
	readonly id: string;
	readonly opcode: number;
	readonly mailboxId: number;
	/** its change record, as the newest log has it */
	readonly place: Place;
	/** the operation, where it is not that of the opcode */
	readonly name?: string;
	/** what the record names, see LogRecord */
	readonly blobPath?: string;
	readonly linkPath?: string;
	readonly accountId?: string;
	readonly oddity?: Oddity;
	/** its record cannot be walked, the next one was found by searching */
	readonly unwalkable?: boolean;
};

/** A committed StoreIncomingBlob, whose body a later CreateMessage may link. */
export type StoredBlob = {
	readonly path: string;
	readonly change: Place;
	readonly commit: Place;
	/** ms since the epoch, of the commit record */
	readonly timestamp: number;
};

/**
 * How far the store of the mirror has been brought, and what the replay of the rest needs from
 * before. A value for JSON; written atomically when what was executed is durable.
 */
export type ReplayedPosition = {
	readonly version: 1;
	readonly log: LogIdentity;
	/** a record boundary: all that was committed before it has been executed, nothing behind it */
	readonly offset: number;
	readonly open: readonly OpenTransaction[];
	/**
	 * Open at the end of the log before this one and not met in this one so far: Zimbra logs them again at
	 * its beginning. Empty as soon as that beginning is over. Only the links they are is of interest.
	 */
	readonly awaited: readonly { readonly id: string; readonly linkPath?: string }[];
	/** oldest first */
	readonly blobs: readonly StoredBlob[];
	/**
	 * Transactions that were executed from bytes which the live server cut away later: when it commits
	 * them again, that is left out.
	 */
	readonly executed: readonly string[];
};

/** Replay that begins at a record boundary before which everything is in the store already. */
export function startAt(log: LogIdentity, offset = headerSize): ReplayedPosition {
	return { version: 1, log, offset, open: [], awaited: [], blobs: [], executed: [] };
}

/**
 * The lowest position that a later replay can need bytes from; archives whose sequence is lower may
 * be removed.
 */
export function oldestNeeded(position: ReplayedPosition): Position {
	const places = [
		...position.open.map(({ place }) => place),
		...position.blobs.flatMap(({ change, commit }) => [change, commit]),
	];
	let oldest: Position = { sequence: position.log.sequence, offset: position.offset };
	for (const { sequence, offset } of places)
		if (sequence < oldest.sequence || (sequence === oldest.sequence && offset < oldest.offset))
			oldest = { sequence, offset };
	return oldest;
}

/** The text of a position file. */
export const formatReplayedPosition = (position: ReplayedPosition): string =>
	`${JSON.stringify(position)}\n`;

/** The reverse of {@link formatReplayedPosition}; undefined for text that is no whole position. */
export function parseReplayedPosition(text: string): ReplayedPosition | undefined {
	let value: unknown;
	try {
		value = JSON.parse(text);
	} catch {
		return undefined;
	}
	return isPosition(value) ? value : undefined;
}

type Check = (value: unknown) => boolean;
const natural: Check = (value) => Number.isSafeInteger(value) && Number(value) >= 0;
const whole: Check = (value) => Number.isSafeInteger(value);
const text: Check = (value) => typeof value === "string";
const maybe =
	(check: Check): Check =>
	(value) =>
		value === undefined || check(value);
const all =
	(check: Check): Check =>
	(value) =>
		Array.isArray(value) && value.every(check);
const shape =
	(fields: Readonly<Record<string, Check>>): Check =>
	(value) =>
		typeof value === "object" &&
		value !== null &&
		Object.entries(fields).every(([name, check]) => check(Reflect.get(value, name)));

const place = shape({ sequence: natural, createTime: whole, offset: natural, length: natural });
const checkPosition = shape({
	version: (value) => value === 1,
	log: shape({ serverId: text, sequence: natural, createTime: whole, timeline: natural }),
	offset: (value) => natural(value) && Number(value) >= headerSize,
	open: all(
		shape({
			id: text,
			opcode: whole,
			mailboxId: whole,
			place,
			name: maybe(text),
			blobPath: maybe(text),
			linkPath: maybe(text),
			accountId: maybe(text),
			oddity: maybe(text),
		}),
	),
	awaited: all(shape({ id: text, linkPath: maybe(text) })),
	blobs: all(shape({ path: text, change: place, commit: place, timestamp: whole })),
	executed: all(text),
});

const isPosition = (value: unknown): value is ReplayedPosition => checkPosition(value);
