import { foreignWords } from "../foreign-words.ts";
import { count, fields, isPlain, logPosition, shown, text } from "../protocol/read-json.ts";
import type { LogIdentity, Position } from "../redolog/position.ts";
import type { LdapMark } from "./mark.ts";
import { isPasswordName, type PasswordDigests } from "./passwords.ts";

/**
 * What the two ends say about LDAP: JSON, a line each.
 *
 *     mirror                                live
 *       | ldap_changes (an ssh command)      |
 *       | ← hello: how it can be copied      |
 *       | ← passwords                        |  again when localconfig.xml changes
 *       | ← look: what it is now             |  at each change, and each heartbeat interval
 *       | a number                         → |  each heartbeat interval; echoed in the next look
 *       | ldap_snapshot WATCH              → |  on another connection: sshd may allow one command on each
 *       | ← one snapshot                     |
 *       | rsync of that directory          → |
 */
export type LdapHello = {
	readonly kind: "hello";
	/** `snapshot`: mdb_copy takes a whole copy; `files`: only the files themselves can be copied */
	readonly method: "snapshot" | "files";
	/** why only the files */
	readonly reason?: string | undefined;
	/** data/ldap on the live server */
	readonly directory: string;
	/** bytes that the files take there, holes left out; only where the files are copied */
	readonly size?: number | undefined;
	/** names this watch: a snapshot that is asked for with it stays as long as the watch lives */
	readonly watch?: string | undefined;
};

export type LdapLook = LdapMark & {
	readonly kind: "look";
	/** where the live log ended before the ids were read; undefined where there is no redo.log */
	readonly coverage?: Coverage | undefined;
	/** the live clock then, ms since the epoch */
	readonly clock: number;
	/** the last number that the mirror had sent before the ids were read */
	readonly heard: number;
};

export type LdapPasswords = { readonly kind: "passwords" } & PasswordDigests;

export type FromLdapSource = LdapHello | LdapLook | LdapPasswords;

/** A place in the live redo log up to which a copy of the directory has what the operations need. */
export type Coverage = Position & LogIdentity;

export type SnapshotFile = {
	/** below the directory */
	readonly path: string;
	readonly size: number;
	readonly sha256: string;
};

/** What `ldap_snapshot` answers: all that the mirror needs to fetch a copy and to check it. */
export type SnapshotAnswer = LdapMark & {
	readonly id: string;
	/** where it lies on the live server until the next one */
	readonly directory: string;
	readonly coverage?: Coverage | undefined;
	/** live clock, ms since the epoch, read with the coverage */
	readonly takenAt: number;
	/** what `zmcontrol -v` says there; undefined where it could not be told */
	readonly zimbra?: string | undefined;
	/** number of entries of each environment, by its directory below data/ldap */
	readonly entries: Readonly<Record<string, number>>;
	readonly contents: readonly SnapshotFile[];
};

/** What {@link LdapHello.watch} looks like: a word of a request. */
export const isWatchName = (word: string): boolean => /^[\w.-]{1,100}$/.test(word);

/** Throws for a line that no live server sends. */
export function decodeFromLdapSource(line: string): FromLdapSource {
	const value = fields(parse(line));
	switch (value.kind) {
		case "hello":
			return {
				kind: "hello",
				method: value.method === "snapshot" ? "snapshot" : "files",
				reason: value.reason === undefined ? undefined : text(value.reason),
				directory: absolute(value.directory),
				size: value.size === undefined ? undefined : count(value.size),
				watch:
					typeof value.watch === "string" && isWatchName(value.watch) ? value.watch : undefined,
			};
		case "passwords":
			return {
				kind: "passwords",
				nonce: text(value.nonce),
				digests: digestsOf(value.digests),
			};
		case "look":
			return {
				kind: "look",
				...markOf(value),
				coverage: value.coverage === undefined ? undefined : logPosition(value.coverage),
				clock: count(value.clock),
				heard: count(value.heard),
			};
		default:
			throw new Error(`not a line of ldap_changes: ${foreignWords(line, 200)}`);
	}
}

/** Throws for anything but the answer of `ldap_snapshot`. */
export function decodeSnapshot(line: string): SnapshotAnswer {
	const value = fields(parse(line));
	if (!Array.isArray(value.contents)) throw new Error("the snapshot has no list of files");
	return {
		...markOf(value),
		id: text(value.id),
		directory: absolute(value.directory),
		coverage: value.coverage === undefined ? undefined : logPosition(value.coverage),
		takenAt: count(value.takenAt),
		zimbra: value.zimbra === undefined ? undefined : text(value.zimbra),
		entries: recordOf(value.entries, count),
		contents: value.contents.map((each) => {
			const { path, size, sha256 } = fields(each);
			return { path: below(path), size: count(size), sha256: text(sha256) };
		}),
	};
}

function markOf(value: Record<string, unknown>): LdapMark {
	return {
		transactionIds: recordOf(value.transactionIds, count),
		sources: recordOf(value.sources, text),
		files: text(value.files),
	};
}

function parse(line: string): unknown {
	try {
		return JSON.parse(line);
	} catch {
		// The parser's own words quote the line as it came.
		throw new Error(`not JSON: ${foreignWords(line, 200)}`);
	}
}

/** The names are paths below data/ldap, and become paths on the mirror. */
function recordOf<T>(value: unknown, read: (value: unknown) => T): Record<string, T> {
	return Object.fromEntries(
		Object.entries(fields(value)).map(([name, each]) => [below(name), read(each)]),
	);
}

/** Zimbra has about ten LDAP passwords. */
const mostPasswords = 50;

/** What has no name of a password is left out, as it is on this side. */
const digestsOf = (value: unknown): Record<string, string> =>
	Object.fromEntries(
		Object.entries(fields(value))
			.filter(([name]) => isPasswordName(name))
			.slice(0, mostPasswords)
			.map(([name, digest]) => [name, text(digest)]),
	);

function absolute(value: unknown): string {
	if (isPlain(value) && value.startsWith("/")) return value;
	throw new Error(`${shown(value)} is not an absolute path`);
}

/** A path that stays below the directory it is used in, whoever sent it. */
function below(value: unknown): string {
	const inside = (part: string) => part !== "" && part !== "." && part !== "..";
	if (isPlain(value) && value.split("/").every(inside)) return value;
	throw new Error(`${shown(value)} is not a path below a directory`);
}
