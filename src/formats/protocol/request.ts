import { canonicalAddress, isAddress } from "../address.ts";
import { isWatchName } from "../ldap/wire.ts";
import { parsePosition } from "../redolog/position.ts";
import { parseRsync } from "../rsync-request.ts";
import { protocolVersion } from "./hello.ts";
import type { StreamRequest } from "./messages.ts";

/**
 * What a mirror may ask of `sync-commands`: a closed list. The text comes from the other host, so it
 * is cut into words here and never given to a shell.
 * A new verb is one entry in {@link grammar}, and one file in programs/sync-commands/.
 */
export type Request =
	/** is a live-syncd running here? (2011) */
	| { readonly verb: "test" }
	/** redo.log from its first byte, then what is appended (2011) */
	| { readonly verb: "stream" }
	/** wait for the next rollover (2011) */
	| { readonly verb: "wait_redo" }
	/** wait for a change in LDAP (2011) */
	| { readonly verb: "wait_ldap" }
	/** remove archives that nobody needs any more (2011) */
	| { readonly verb: "purge" }
	/** the mirror that was known by the first address has the second one now */
	| { readonly verb: "moved"; readonly from: string; readonly to: string }
	/** are incremental backups scheduled? (2011) */
	| { readonly verb: "query_incremental" }
	/** read-only rsync server for a pull (2011); the words behind its name */
	| { readonly verb: "rsync"; readonly words: readonly string[] }
	/** who is here, and how things stand */
	| { readonly verb: "hello" }
	/** the redo log settings of Zimbra */
	| { readonly verb: "settings" }
	/** what the LDAP directory is, at each change, without end */
	| { readonly verb: "ldap_changes" }
	/** make a consistent copy of the LDAP directory for rsync to pull; for which ldap_changes */
	| { readonly verb: "ldap_snapshot"; readonly watch?: string | undefined }
	/** the redo log from a position, without end */
	| { readonly verb: "stream_from"; readonly stream: StreamRequest };

export type Verb = Request["verb"];

export type Parsed =
	| { readonly request: Request; readonly refused?: never }
	| { readonly refused: string; readonly request?: never };

/** What the grammar needs to know of this server. */
export type Places = {
	/** directories that rsync may read, each with a slash at its end */
	readonly rsyncDirectories: readonly string[];
};

/** Longest request; the longest of ours has about 300 characters. */
export const maxRequestLength = 1024;

/** Where the text of the request comes from, in the order of the 2011 script. */
export type RequestSource =
	| { readonly kind: "text"; readonly text: string }
	/** one line of standard input */
	| { readonly kind: "stdin" };

/**
 * Words that stand in the forced command itself go before whatever the client asks: with them a key is
 * limited to one verb. A mirror of 2011 asks with `echo test | ssh HOST
 * /opt/zimbra/live_sync/sync_commands`, so that SSH_ORIGINAL_COMMAND names the program only; its rsync
 * names itself.
 */
export function findRequest(
	originalCommand: string | undefined,
	words: readonly string[],
): RequestSource {
	const asked = originalCommand ?? "";
	if (words.length > 0) return { kind: "text", text: words.join(" ") };
	if (/^ *rsync(?: |$)/.test(asked)) return { kind: "text", text: asked };
	const request = asked.replace(/^ *(?:\/[\w./@+-]*\/)?sync[_-]commands(?: +|$)/, "");
	return request.trim() === "" ? { kind: "stdin" } : { kind: "text", text: request };
}

type Grammar = (words: readonly string[], places: Places) => Parsed;

const alone =
	(request: Request): Grammar =>
	(words) =>
		words.length === 0 ? { request } : { refused: `${request.verb} takes no words` };

const grammar: ReadonlyMap<string, Grammar> = new Map<string, Grammar>([
	["test", alone({ verb: "test" })],
	["wait_redo", alone({ verb: "wait_redo" })],
	["wait_ldap", alone({ verb: "wait_ldap" })],
	["moved", moved],
	["purge", alone({ verb: "purge" })],
	["query_incremental", alone({ verb: "query_incremental" })],
	["hello", alone({ verb: "hello" })],
	["settings", alone({ verb: "settings" })],
	["ldap_changes", alone({ verb: "ldap_changes" })],
	[
		"ldap_snapshot",
		([watch, ...more]) => {
			if (watch === undefined) return { request: { verb: "ldap_snapshot" } };
			if (more.length > 0 || !isWatchName(watch)) {
				return { refused: "ldap_snapshot takes the name of a watch, or no word" };
			}
			return { request: { verb: "ldap_snapshot", watch } };
		},
	],
	["stream", (words) => (words.length === 0 ? { request: { verb: "stream" } } : streamFrom(words))],
	[
		"rsync",
		(words, { rsyncDirectories }) => {
			const { words: served, refused } = parseRsync(["rsync", ...words], rsyncDirectories);
			if (refused !== undefined) return { refused: `Rejected: ${refused}` };
			return { request: { verb: "rsync", words: served } };
		},
	],
]);

function moved([from = "", to = "", ...more]: readonly string[]): Parsed {
	if (![from, to].every(isAddress) || more.length > 0) {
		return { refused: "moved takes two addresses" };
	}
	const request = {
		verb: "moved",
		from: canonicalAddress(from),
		to: canonicalAddress(to),
	} as const;
	return request.from === request.to
		? { refused: "moved takes two different addresses" }
		: { request };
}

/** The request that a text is, or why it is none. */
export function parseRequest(text: string, places: Places): Parsed {
	if (text.length > maxRequestLength) {
		return { refused: `a request has at most ${maxRequestLength} characters` };
	}
	if (!/^[ -~]*$/.test(text)) return { refused: "a request has printable ASCII characters only" };
	const [verb, ...words] = text.split(" ").filter((word) => word !== "");
	if (verb === undefined) return { refused: "no request was given" };
	const parse = grammar.get(verb);
	if (parse === undefined) return { refused: `unknown request ${verb}` };
	return parse(words, places);
}

/** `stream 17:4096 server=ID create=MS timeline=N mirror=ADDRESS compress=zstd|none protocol=1` */
export function formatStreamRequest({ position, mirror, compression }: StreamRequest): string {
	const { sequence, offset, serverId, createTime, timeline } = position;
	return [
		`stream ${sequence}:${offset} server=${serverId} create=${createTime} timeline=${timeline}`,
		`mirror=${canonicalAddress(mirror)} compress=${compression} protocol=${protocolVersion}`,
	].join(" ");
}

/** What each of its words must look like; all of them are needed, each once, in any order. */
const streamWords = {
	server: /^[\w.-]{1,127}$/,
	create: /^\d{1,15}$/,
	timeline: /^\d{1,9}$/,
	mirror: /^[0-9A-Fa-f:.]{2,45}$/,
	compress: /^(?:none|zstd)$/,
	protocol: /^\d{1,9}$/,
} as const;
type StreamWord = keyof typeof streamWords;
const isStreamWord = (name: string): name is StreamWord => Object.hasOwn(streamWords, name);

function streamFrom([first = "", ...words]: readonly string[]): Parsed {
	const position = parsePosition(first);
	if (position === undefined) return { refused: `${first} is no position (SEQUENCE:OFFSET)` };
	const given: Partial<Record<StreamWord, string>> = {};
	for (const word of words) {
		const [, name = "", value = ""] = /^([a-z]+)=(.*)$/.exec(word) ?? [];
		if (!isStreamWord(name)) return { refused: `stream does not know ${word}` };
		if (given[name] !== undefined) return { refused: `stream has ${name} twice` };
		if (!streamWords[name].test(value)) return { refused: `stream cannot take ${word}` };
		given[name] = value;
	}
	// Said first: a later protocol may have other words.
	if (given.protocol !== undefined && Number(given.protocol) !== protocolVersion) {
		return {
			refused: `this server speaks protocol ${protocolVersion}, not ${given.protocol}: install the same version of live-syncd on both servers`,
		};
	}
	// It becomes the name of a file on this side: see mirror-record.ts.
	if (given.mirror !== undefined && !isAddress(given.mirror)) {
		return { refused: `stream cannot take mirror=${given.mirror}: not an address` };
	}
	const missing = Object.keys(streamWords).filter((name) => !Object.hasOwn(given, name));
	if (missing.length > 0) return { refused: `stream needs ${missing.join(", ")}` };
	const { server = "", create, timeline, mirror = "", compress } = given;
	return {
		request: {
			verb: "stream_from",
			stream: {
				position: {
					...position,
					serverId: server,
					createTime: Number(create),
					timeline: Number(timeline),
				},
				mirror: canonicalAddress(mirror),
				compression: compress === "zstd" ? "zstd" : "none",
			},
		},
	};
}
