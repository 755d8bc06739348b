import { isAddress } from "./address.ts";
import { isCount, isRecord, isTextIn, parseJson } from "./json.ts";
import { formatPosition, type Position, parsePosition } from "./redolog/position.ts";

/**
 * What a server is, as it remembers it itself (status/role.json): `live` since it was promoted or found
 * to be serving, `mirror` since `start`, `unknown` where nobody has said yet.
 */
export type Role = {
	readonly version: 1;
	readonly role: "live" | "mirror" | "unknown";
	/** number of the history that its redo logs belong to; grows by one at each promotion */
	readonly timeline: number;
	/** ms since the epoch */
	readonly since: number;
	/**
	 * A `live-syncd start` that has not come to its end. It is published before the other server is
	 * asked, so that of two servers that start at once both see the other, and both refuse.
	 */
	readonly intent?: Intent | undefined;
	/** this server's own address as the last `start` found it, for when the machine's addresses tell nothing */
	readonly local?: string | undefined;
	/**
	 * `stop` has come to its end on this mirror: all that was received is in the message store. What comes into
	 * the redo log after that is not a live server's.
	 */
	readonly stopped?: Stopped | undefined;
};

export type Stopped = {
	/** ms since the epoch */
	readonly at: number;
	/** where replay stood; undefined where nothing was ever received */
	readonly replayed?: Position | undefined;
};

export type Intent = {
	/** counts only while that process lives */
	readonly process: {
		readonly pid: number;
		readonly startTime: number;
		readonly bootId: string;
	};
	/** ms since the epoch */
	readonly at: number;
};

/** What holds where nothing is recorded: a server that was never promoted is on the first timeline. */
export const unknownRole: Role = { version: 1, role: "unknown", timeline: 1, since: 0 };

const roles = ["live", "mirror", "unknown"] as const;

export function formatRole({ stopped, ...role }: Role): string {
	const replayed = stopped?.replayed && formatPosition(stopped.replayed);
	return `${JSON.stringify({ ...role, stopped: stopped && { ...stopped, replayed } })}\n`;
}

/** Whether this server follows another one: made a mirror by `start`, and not stopped since. */
export const isFollowing = ({ role, stopped }: Role): boolean =>
	role === "mirror" && stopped === undefined;

/** Reads the file back; undefined for anything that {@link formatRole} did not write. */
export function parseRole(text: string): Role | undefined {
	const value = parseJson(text);
	if (!isRecord(value) || value.version !== 1) return undefined;
	const { role, timeline, since } = value;
	if (!isTextIn(roles, role) || !isCount(timeline) || !isCount(since)) return undefined;
	const intent = value.intent === undefined ? undefined : parseIntent(value.intent);
	if (value.intent !== undefined && intent === undefined) return undefined;
	const stopped = value.stopped === undefined ? undefined : parseStopped(value.stopped);
	if (value.stopped !== undefined && stopped === undefined) return undefined;
	const local = typeof value.local === "string" && isAddress(value.local) ? value.local : undefined;
	return {
		...{ version: 1, role, timeline, since },
		...(local !== undefined && { local }),
		...(intent !== undefined && { intent }),
		...(stopped !== undefined && { stopped }),
	};
}

function parseStopped(value: unknown): Stopped | undefined {
	if (!isRecord(value) || !isCount(value.at)) return undefined;
	if (value.replayed === undefined) return { at: value.at };
	const replayed = typeof value.replayed === "string" ? parsePosition(value.replayed) : undefined;
	return replayed && { at: value.at, replayed };
}

function parseIntent(value: unknown): Intent | undefined {
	if (!isRecord(value) || !isRecord(value.process) || !isCount(value.at)) return undefined;
	const { pid, startTime, bootId } = value.process;
	if (!isCount(pid) || pid < 2 || !isCount(startTime) || typeof bootId !== "string") {
		return undefined;
	}
	return { process: { pid, startTime, bootId }, at: value.at };
}
