/** A place in the redo log: which file of the sequence, and how many bytes into it. */
export type Position = { readonly sequence: number; readonly offset: number };

/**
 * Which file it is. The sequence alone does not tell: after a failover both servers write files of
 * the same number, and the server id is the same on clones.
 */
export type LogIdentity = {
	readonly serverId: string;
	readonly sequence: number;
	/** ms since the epoch, from the file's header */
	readonly createTime: number;
	/** grows by one at each promotion */
	readonly timeline: number;
};

export const comparePositions = (a: Position, b: Position): number =>
	a.sequence - b.sequence || a.offset - b.offset;

/** `17:4096`, as in logs, status and docs. */
export const formatPosition = (position: Position): string =>
	`${position.sequence}:${position.offset}`;

/** The reverse of {@link formatPosition}; undefined for anything else. */
export function parsePosition(text: string): Position | undefined {
	const match = /^(\d{1,15}):(\d{1,15})$/.exec(text);
	if (match === null) return undefined;
	return { sequence: Number(match[1]), offset: Number(match[2]) };
}

export const sameLog = (a: LogIdentity, b: LogIdentity): boolean =>
	a.serverId === b.serverId &&
	a.sequence === b.sequence &&
	a.createTime === b.createTime &&
	a.timeline === b.timeline;
