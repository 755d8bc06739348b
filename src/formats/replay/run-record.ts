import { type LogIdentity, sameLog } from "../redolog/position.ts";
import { parseReplayedPosition, type ReplayedPosition } from "./replayed-position.ts";

/** A process as services/processes.ts tells it from a later one of the same number. */
type RecordedProcess = {
	readonly pid: number;
	readonly startTime: number;
	readonly bootId: string;
};

/**
 * status/replay-run.json: the replay run that is under way, or the one whose end needs a decision. It
 * is on disk before zmplayredo is started and removed after the position has moved, so that whoever
 * comes next knows whether the store may have moved without the position.
 */
export type RunRecord = {
	readonly version: 1;
	/** names the run; each of its processes carries it in its environment */
	readonly token: string;
	/** of the run, below status/slices */
	readonly directory: string;
	readonly bootId: string;
	/** ms since the epoch */
	readonly startedAt: number;
	/**
	 * - `running`: zmplayredo has been started, or was about to be
	 * - `ended`: judged; the run comes again, or waits for a person
	 */
	readonly phase: "running" | "ended" | "stopped";
	/** where replay stood when it was prepared; from another position, the record means nothing */
	readonly from: LogIdentity & { readonly offset: number };
	/** the position when all of it is executed */
	readonly next: ReplayedPosition;
	readonly files: readonly { readonly path: string; readonly mayDrop: boolean }[];
	/** how many operations it was given */
	readonly operations: number;
	readonly database?: RecordedProcess | undefined;
	readonly log: {
		readonly current?: { readonly inode: number; readonly offset: number; readonly digest: string };
		readonly older: readonly number[];
	};
	/** seen so far */
	readonly processes: readonly RecordedProcess[];
	/** runs over this part of the log of which nobody knows what they executed, this one not counted */
	readonly unknownEnds: number;
	/** the file that names the operations at risk */
	readonly report?: string | undefined;
	/** why it has stopped, in phase "stopped" */
	readonly why?: string | undefined;
};

export const formatRunRecord = (record: RunRecord): string =>
	`${JSON.stringify(record, undefined, "\t")}\n`;

/** Undefined for a text that is no such record. */
export function parseRunRecord(text: string): RunRecord | undefined {
	let value: Partial<RunRecord>;
	try {
		value = JSON.parse(text);
	} catch {
		return undefined;
	}
	const whole =
		value?.version === 1 &&
		typeof value.token === "string" &&
		typeof value.directory === "string" &&
		typeof value.bootId === "string" &&
		["running", "ended", "stopped"].includes(String(value.phase)) &&
		Number.isSafeInteger(value.from?.offset) &&
		parseReplayedPosition(JSON.stringify(value.next ?? null)) !== undefined &&
		typeof value.unknownEnds === "number" &&
		Array.isArray(value.processes) &&
		Array.isArray(value.files) &&
		value.log !== undefined;
	return whole ? (value as RunRecord) : undefined;
}

/** Whether replay stands where it stood when that run was prepared. */
export function beginsAt(record: RunRecord, position: ReplayedPosition): boolean {
	return record.from.offset === position.offset && sameLog(record.from, position.log);
}
