import { isCount, isRecord, parseJson } from "../json.ts";

/**
 * Answer to `settings`: what `start` must know of Zimbra's redo log settings on the live server, from
 * LDAP. Left out where LDAP did not say.
 */
export type RedoSettings = {
	/** zimbraRedoLogEnabled: without it there is nothing to follow */
	readonly enabled?: boolean | undefined;
	/** zimbraRedoLogDeleteOnRollover: with it a mirror that was away finds a gap */
	readonly deleteOnRollover?: boolean | undefined;
	/** zimbraRedoLogCrashRecoveryLookbackSec */
	readonly crashRecoveryLookbackSeconds?: number | undefined;
};

export const redoAttributes = [
	"zimbraRedoLogEnabled",
	"zimbraRedoLogDeleteOnRollover",
	"zimbraRedoLogCrashRecoveryLookbackSec",
] as const;

/** Reads what `zmprov gs SERVER ATTRIBUTE …` prints: a comment, and `name: value` lines. */
export function readRedoAttributes(output: string): RedoSettings {
	const find = (name: (typeof redoAttributes)[number]): string | undefined =>
		new RegExp(`^${name}:[ \t]*(\\S+)[ \t]*$`, "m").exec(output)?.[1];
	const flag = (value: string | undefined) => ({ TRUE: true, FALSE: false })[value ?? ""];
	const seconds = Number(find("zimbraRedoLogCrashRecoveryLookbackSec") ?? Number.NaN);
	return {
		enabled: flag(find("zimbraRedoLogEnabled")),
		deleteOnRollover: flag(find("zimbraRedoLogDeleteOnRollover")),
		crashRecoveryLookbackSeconds: isCount(seconds) ? seconds : undefined,
	};
}

export const formatRedoSettings = (settings: RedoSettings): string =>
	`${JSON.stringify({ settings })}\n`;

/** Reads the answer; undefined for anything else. */
export function parseRedoSettings(text: string): RedoSettings | undefined {
	const line = text.split("\n").find((each) => each.startsWith('{"settings":'));
	const value = parseJson(line ?? "");
	if (!isRecord(value) || !isRecord(value.settings)) return undefined;
	const { enabled, deleteOnRollover, crashRecoveryLookbackSeconds } = value.settings;
	if (!isOptionalFlag(enabled) || !isOptionalFlag(deleteOnRollover)) return undefined;
	if (crashRecoveryLookbackSeconds !== undefined && !isCount(crashRecoveryLookbackSeconds)) {
		return undefined;
	}
	return { enabled, deleteOnRollover, crashRecoveryLookbackSeconds };
}

const isOptionalFlag = (value: unknown): value is boolean | undefined =>
	value === undefined || typeof value === "boolean";
