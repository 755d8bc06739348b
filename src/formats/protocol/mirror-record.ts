import { canonicalAddress, isAddress } from "../address.ts";
import { isCount, isRecord, parseJson } from "../json.ts";
import type { StateMoment } from "../state.ts";
import type { LogPosition } from "./messages.ts";

/**
 * What the live server knows of a mirror: a file in status/mirrors/ for each, written by the sender
 * whenever a mirror says what it has replayed, read by `purge`.
 */
export type MirrorRecord = {
	readonly version: 1;
	/** its address */
	readonly mirror: string;
	/** everything below is in its store; null where it has not said so yet */
	readonly replayed: LogPosition | null;
	/** when it said so */
	readonly at: StateMoment;
	/** when it was last heard of; version 2.0.0 did not keep it */
	readonly heardAt?: StateMoment | undefined;
};

const suffix = ".json";

/** Name of the record of a mirror; the address is one that the grammar of requests has let through. */
export const mirrorRecordName = (mirror: string): string => `${canonicalAddress(mirror)}${suffix}`;

/** Whether a record is of this mirror: version 2.0.0 named it by the address as it was spelt. */
export const isRecordOf = (name: string, mirror: string): boolean => {
	const address = name.slice(0, -suffix.length);
	return (
		isMirrorRecordName(name) &&
		isAddress(address) &&
		canonicalAddress(address) === canonicalAddress(mirror)
	);
};

/** Whether a file in status/mirrors/ is a record, and not one half written. */
export const isMirrorRecordName = (name: string): boolean =>
	name.endsWith(suffix) && !name.startsWith(".");

export const formatMirrorRecord = (record: MirrorRecord): string => `${JSON.stringify(record)}\n`;

/** Reads a record back; undefined for anything else: then nobody knows what that mirror needs. */
export function parseMirrorRecord(text: string): MirrorRecord | undefined {
	const value = parseJson(text);
	if (!isRecord(value) || value.version !== 1 || typeof value.mirror !== "string") return undefined;
	const at = parseMoment(value.at);
	if (at === undefined) return undefined;
	const { mirror } = value;
	const heardAt = parseMoment(value.heardAt);
	const record = { version: 1, mirror, at, ...(heardAt && { heardAt }) } as const;
	if (value.replayed === null) return { ...record, replayed: null };
	const replayed = parseLogPosition(value.replayed);
	return replayed === undefined ? undefined : { ...record, replayed };
}

function parseMoment(value: unknown): StateMoment | undefined {
	if (!isRecord(value)) return undefined;
	const { wall, monotonic, bootId } = value;
	if (!isCount(wall) || typeof bootId !== "string") return undefined;
	if (typeof monotonic !== "number" || !(monotonic >= 0)) return undefined;
	return { wall, monotonic, bootId };
}

function parseLogPosition(value: unknown): LogPosition | undefined {
	if (!isRecord(value)) return undefined;
	const { serverId, sequence, createTime, timeline, offset } = value;
	if (typeof serverId !== "string" || ![sequence, createTime, timeline, offset].every(isCount)) {
		return undefined;
	}
	return { serverId, sequence, createTime, timeline, offset } as LogPosition;
}
