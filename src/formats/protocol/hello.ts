import { foreignWords } from "../foreign-words.ts";
import { isCount, isRecord, isTextIn, parseJson } from "../json.ts";
import { findAnswer } from "./answers.ts";

/** Both ends must speak the same; the words of `hello` itself only ever get more. */
export const protocolVersion = 1;

/**
 * Answer to `hello`: who the live server is and how it stands, as one line of JSON. What could not be
 * measured is left out, and never guessed.
 */
export type Hello = {
	readonly protocol: number;
	/** version of sync-commands */
	readonly program: string;
	/** what `zmcontrol -v` says, on one line */
	readonly zimbra?: string | undefined;
	/** from the header of redo.log; left out where there is no redo.log */
	readonly redolog?:
		| {
				readonly serverId: string;
				readonly sequence: number;
				/** ms since the epoch */
				readonly createTime: number;
				/** bytes: the end of the live log is at sequence:size */
				readonly size: number;
				/** Zimbra has it open, or died with it open */
				readonly open: boolean;
		  }
		| undefined;
	readonly role: "live" | "mirror" | "unknown";
	readonly timeline: number;
	readonly mailboxd: "running" | "stopped" | "unknown";
	/** live-syncd on this server: a mirror must not follow one that runs it or is about to */
	readonly liveSyncd: "running" | "starting" | "stopped";
	/** what this side can do: `zstd`, `mdb_copy` */
	readonly capabilities: readonly string[];
	/** ms since the epoch */
	readonly clock: number;
	/** free bytes where the redo log lies, and where LDAP snapshots are made */
	readonly diskFree: { readonly redolog?: number | undefined; readonly base?: number | undefined };
};

const roles = ["live", "mirror", "unknown"] as const;
const mailboxdStates = ["running", "stopped", "unknown"] as const;
const daemonStates = ["running", "starting", "stopped"] as const;

export const formatHello = (hello: Hello): string => `${JSON.stringify(hello)}\n`;

/**
 * Reads the answer; undefined for anything else, such as that of the 2011 script, which does not know
 * `hello`. What a login shell prints before it is passed over.
 */
export function parseHello(text: string): Hello | undefined {
	const value = parseJson(findAnswer(text, "hello")?.answer ?? "");
	if (!isRecord(value)) return undefined;
	const { protocol, program, zimbra, role, timeline, mailboxd, liveSyncd, clock } = value;
	const { capabilities, diskFree } = value;
	const redolog = value.redolog === undefined ? undefined : parseRedolog(value.redolog);
	if (
		!isCount(protocol) ||
		typeof program !== "string" ||
		(zimbra !== undefined && typeof zimbra !== "string") ||
		(value.redolog !== undefined && redolog === undefined) ||
		!isTextIn(roles, role) ||
		!isCount(timeline) ||
		!isTextIn(mailboxdStates, mailboxd) ||
		!isTextIn(daemonStates, liveSyncd) ||
		!isCount(clock) ||
		!Array.isArray(capabilities) ||
		!capabilities.every((each) => typeof each === "string") ||
		!isRecord(diskFree) ||
		!isOptionalCount(diskFree.redolog) ||
		!isOptionalCount(diskFree.base)
	) {
		return undefined;
	}
	return {
		...{ protocol, redolog, role, timeline, mailboxd, liveSyncd, clock },
		program: foreignWords(program, 100),
		zimbra: zimbra === undefined ? undefined : foreignWords(zimbra, 300),
		capabilities: capabilities.slice(0, 50).map((each) => foreignWords(each, 100)),
		diskFree: { redolog: diskFree.redolog, base: diskFree.base },
	};
}

function parseRedolog(value: unknown): Hello["redolog"] {
	if (!isRecord(value)) return undefined;
	const { serverId, sequence, createTime, size, open } = value;
	if (
		typeof serverId !== "string" ||
		!isCount(sequence) ||
		!isCount(createTime) ||
		!isCount(size) ||
		typeof open !== "boolean"
	) {
		return undefined;
	}
	return { serverId: foreignWords(serverId, 200), sequence, createTime, size, open };
}

const isOptionalCount = (value: unknown): value is number | undefined =>
	value === undefined || isCount(value);
