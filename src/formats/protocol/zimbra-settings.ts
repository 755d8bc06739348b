import { foreignWords } from "../foreign-words.ts";
import { isCount, isRecord, parseJson } from "../json.ts";
import type { ZimbraServer } from "../zimbra-servers.ts";
import { findAnswer } from "./answers.ts";

/** Zimbra's redo log settings, from LDAP. Left out where LDAP did not say. */
export type RedoSettings = {
	/** zimbraRedoLogEnabled: without it there is nothing to follow */
	readonly enabled?: boolean | undefined;
	/** zimbraRedoLogDeleteOnRollover: with it a mirror that was away finds a gap */
	readonly deleteOnRollover?: boolean | undefined;
	/** zimbraRedoLogCrashRecoveryLookbackSec */
	readonly crashRecoveryLookbackSeconds?: number | undefined;
	/** zimbraRedoLogLogPath, zimbraRedoLogArchiveDir: a relative one begins at zimbra_home */
	readonly logPath?: string | undefined;
	readonly archiveDirectory?: string | undefined;
};

export const redoAttributes = [
	"zimbraRedoLogEnabled",
	"zimbraRedoLogDeleteOnRollover",
	"zimbraRedoLogCrashRecoveryLookbackSec",
	"zimbraRedoLogLogPath",
	"zimbraRedoLogArchiveDir",
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
		logPath: find("zimbraRedoLogLogPath"),
		archiveDirectory: find("zimbraRedoLogArchiveDir"),
	};
}

/** Answer to `settings`: what `start` must know of the live server's installation. */
export type ZimbraSettings = {
	readonly redo: RedoSettings;
	/** other servers of the installation that have a message store or a directory */
	readonly otherStores: readonly ZimbraServer[];
	/** name of the server itself, where LDAP has it; version 2.0.0 does not say it */
	readonly ownName?: string | undefined;
};

export const formatZimbraSettings = ({ redo, otherStores, ownName }: ZimbraSettings): string =>
	`${JSON.stringify({ settings: redo, otherStores, ownName })}\n`;

/** Reads the answer; undefined for anything else. */
export function parseZimbraSettings(text: string): ZimbraSettings | undefined {
	const value = parseJson(findAnswer(text, "settings")?.answer ?? "");
	if (!isRecord(value) || !isRecord(value.settings)) return undefined;
	const { enabled, deleteOnRollover, crashRecoveryLookbackSeconds } = value.settings;
	const { logPath, archiveDirectory } = value.settings;
	if (!isOptionalFlag(enabled) || !isOptionalFlag(deleteOnRollover)) return undefined;
	if (!isOptionalText(logPath) || !isOptionalText(archiveDirectory)) return undefined;
	if (crashRecoveryLookbackSeconds !== undefined && !isCount(crashRecoveryLookbackSeconds)) {
		return undefined;
	}
	const { otherStores, ownName } = value;
	if (!Array.isArray(otherStores) || !otherStores.every(isServer)) return undefined;
	if (!isOptionalText(ownName)) return undefined;
	const redo = {
		enabled,
		deleteOnRollover,
		crashRecoveryLookbackSeconds,
		logPath: plain(logPath),
		archiveDirectory: plain(archiveDirectory),
	};
	const servers = otherStores.slice(0, 100).map(({ name, services }) => ({
		name: foreignWords(name, 255),
		services: services.slice(0, 50).map((each) => foreignWords(each, 100)),
	}));
	const own = ownName === undefined ? {} : { ownName: foreignWords(ownName, 255) };
	return { redo, otherStores: servers, ...own };
}

const plain = (text: string | undefined): string | undefined =>
	text === undefined ? undefined : foreignWords(text);

const isServer = (value: unknown): value is ZimbraServer =>
	isRecord(value) &&
	typeof value.name === "string" &&
	Array.isArray(value.services) &&
	value.services.every((each) => typeof each === "string");

const isOptionalText = (value: unknown): value is string | undefined =>
	value === undefined || typeof value === "string";

const isOptionalFlag = (value: unknown): value is boolean | undefined =>
	value === undefined || typeof value === "boolean";
