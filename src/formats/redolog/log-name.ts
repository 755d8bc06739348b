/**
 * Names of redo log files, as Zimbra makes them.
 * Source: zm-mailbox, com.zimbra.cs.redolog.RolloverManager.
 */

export const currentLogName = "redo.log";

export type ArchiveName = {
	/** time of the rollover as it stands in the name: `yyyyMMdd.HHmmss.SSS`, GMT */
	readonly time: string;
	readonly sequence: number;
};

/** Reads `redo-20261123.143054.085-seq0.log`; undefined for any other name. */
export function parseArchiveName(name: string): ArchiveName | undefined {
	const match = /^redo-(\d{8}\.\d{6}\.\d{3})-seq(\d{1,15})\.log$/.exec(name);
	if (match === null) return undefined;
	return { time: match[1] ?? "", sequence: Number(match[2]) };
}

/** The archive name of a log that was rolled over at `time` (ms since the epoch). */
export function formatArchiveName(sequence: number, time: number): string {
	return `redo-${rolloverTime(time)}-seq${sequence}.log`;
}

/** The name under which Zimbra prepares the next log, beside redo.log. */
export function formatTemporaryName(sequence: number, time: number): string {
	return `~tmp-redo-${rolloverTime(time)}-seq${sequence}.log`;
}

export const isTemporaryName = (name: string): boolean => /^~tmp-redo-.*\.log$/.test(name);

function rolloverTime(time: number): string {
	const [date = "", clock = ""] = new Date(time).toISOString().split("T");
	return `${date.replaceAll("-", "")}.${clock.replaceAll(":", "").replace("Z", "")}`;
}
