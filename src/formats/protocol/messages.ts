import { parseJson } from "../json.ts";
import type { LogIdentity, Position } from "../redolog/position.ts";
import { encodeFrame, type Frame } from "./frames.ts";
import { peerHint } from "./peer-hints.ts";
import { count, fields, identity, logPosition, position, text } from "./read-json.ts";

/**
 * What the frames of the stream mean.
 *
 *     mirror                                     live
 *       | stream 17:4096 … (the ssh command)      |
 *       | resume: digests of what is here       → |  finds the file, compares
 *       | ← agreed | differs | refusal            |
 *       | ← file, data, header, truncate, end, file, data, …
 *       | ← heartbeat                             |  each second, also while hashing or catching up
 *       | progress: flushed, replayed           → |  each second and after each fsync
 */

/** A place in a file of the live server, with all that tells the file. */
export type LogPosition = Position & Pick<LogIdentity, "serverId" | "createTime" | "timeline">;

export type FromLive =
	/** The mirror's bytes up to `offset` are those of the live file; the stream goes on there. */
	| { readonly kind: "agreed"; readonly offset: number }
	/**
	 * Both agree up to `from`; behind it they differ. `bytes` are the live file's bytes from there,
	 * at most one link of the chain, so that the mirror can find the very byte.
	 */
	| {
			readonly kind: "differs";
			readonly from: number;
			readonly size: number;
			readonly bytes: Buffer;
	  }
	/** A file begins. `header` are its 512 bytes as they stand now. */
	| { readonly kind: "file"; readonly identity: LogIdentity; readonly header: Buffer }
	| { readonly kind: "data"; readonly offset: number; readonly bytes: Buffer }
	/** The header was rewritten in place. */
	| { readonly kind: "header"; readonly header: Buffer }
	/** The live server has cut the file here. */
	| { readonly kind: "truncate"; readonly offset: number }
	/** The file is closed and bears an archive name. `digest` is the chain's at its end. */
	| {
			readonly kind: "end";
			readonly size: number;
			readonly digest: Buffer;
			readonly archiveName: string;
			readonly header: Buffer;
	  }
	/** Where the live log ends, and the live clock, ms since the epoch. */
	| { readonly kind: "heartbeat"; readonly position: Position; readonly clock: number }
	/**
	 * The live side cannot serve this; see docs/errors.md for the code. The hint is sent for mirrors of
	 * version 2.0.0; this one takes its own.
	 */
	| {
			readonly kind: "refusal";
			readonly code: string;
			readonly message: string;
			readonly hint: string;
	  };

export type FromMirror =
	| {
			readonly kind: "resume";
			/** whole links of the chain, oldest first, 32 bytes each */
			readonly links: readonly Buffer[];
			/** digest at the offset that the request names */
			readonly digest: Buffer;
			/**
			 * header of the archive before the file that is asked for, where the mirror asks for a new
			 * file; empty if it has none
			 */
			readonly previousHeader: Buffer;
	  }
	| {
			readonly kind: "progress";
			readonly flushed: LogPosition | undefined;
			readonly replayed: LogPosition | undefined;
	  };

type Of<M extends { kind: string }, K extends M["kind"]> = Extract<M, { kind: K }>;

/** JSON facts, a line feed, and bytes that are not JSON. */
function pack(type: number, facts: object, bytes: Uint8Array = Buffer.alloc(0)): Buffer {
	return encodeFrame(type, Buffer.from(`${JSON.stringify(facts)}\n`), bytes);
}

function unpack(payload: Buffer): { facts: Record<string, unknown>; bytes: Buffer } {
	const end = payload.indexOf(10);
	if (end < 0) throw new Error("a frame without facts is not of this protocol");
	const facts = fields(parseJson(payload.toString("utf8", 0, end)));
	return { facts, bytes: payload.subarray(end + 1) };
}

const types = {
	agreed: 1,
	differs: 2,
	file: 3,
	data: 4,
	header: 5,
	truncate: 6,
	end: 7,
	heartbeat: 8,
	refusal: 9,
	resume: 64,
	progress: 65,
} as const;

const dataHead = 8;

/** A data frame, made without a copy of its facts into JSON: there are many. */
export function encodeData(offset: number, bytes: Uint8Array): Buffer {
	const head = Buffer.allocUnsafe(dataHead);
	head.writeBigUInt64BE(BigInt(offset));
	return encodeFrame(types.data, head, bytes);
}

export function encodeFromLive(message: FromLive): Buffer {
	switch (message.kind) {
		case "data":
			return encodeData(message.offset, message.bytes);
		case "differs": {
			const { bytes, from, size } = message;
			return pack(types.differs, { from, size }, bytes);
		}
		case "file":
			return pack(types.file, { identity: message.identity }, message.header);
		case "header":
			return pack(types.header, {}, message.header);
		case "end": {
			const { size, archiveName, digest, header } = message;
			return pack(types.end, { size, archiveName, digest: digest.toString("hex") }, header);
		}
		default: {
			const { kind, ...facts } = message;
			return pack(types[kind], facts);
		}
	}
}

export function encodeFromMirror(message: FromMirror): Buffer {
	switch (message.kind) {
		case "resume": {
			const facts = {
				links: message.links.length,
				digest: message.digest.toString("hex"),
			};
			return pack(types.resume, facts, Buffer.concat([...message.links, message.previousHeader]));
		}
		case "progress": {
			const { flushed, replayed } = message;
			return pack(types.progress, { flushed, replayed });
		}
	}
}

/** Throws for a frame that the live side never sends. */
export function decodeFromLive({ type, payload }: Frame): FromLive {
	if (type === types.data) {
		return {
			kind: "data",
			offset: Number(payload.readBigUInt64BE(0)),
			bytes: payload.subarray(dataHead),
		};
	}
	const { facts, bytes } = unpack(payload);
	switch (type) {
		case types.agreed:
			return { kind: "agreed", offset: count(facts.offset) };
		case types.differs:
			return { kind: "differs", from: count(facts.from), size: count(facts.size), bytes };
		case types.file:
			return { kind: "file", identity: identity(facts.identity), header: headerOf(bytes) };
		case types.header:
			return { kind: "header", header: headerOf(bytes) };
		case types.truncate:
			return { kind: "truncate", offset: count(facts.offset) };
		case types.end:
			return {
				kind: "end",
				size: count(facts.size),
				digest: Buffer.from(text(facts.digest), "hex"),
				archiveName: text(facts.archiveName),
				header: headerOf(bytes),
			};
		case types.heartbeat:
			return {
				kind: "heartbeat",
				position: position(facts.position),
				clock: count(facts.clock),
			};
		case types.refusal: {
			const code = text(facts.code);
			return { kind: "refusal", code, message: text(facts.message), hint: peerHint(code) };
		}
		default:
			throw new Error(`a frame of type ${type} is not of this protocol`);
	}
}

/** Throws for a frame that a mirror never sends. */
export function decodeFromMirror({ type, payload }: Frame): FromMirror {
	const { facts, bytes } = unpack(payload);
	switch (type) {
		case types.resume:
			return decodeResume(facts, bytes);
		case types.progress:
			return {
				kind: "progress",
				flushed: optional(facts.flushed, logPosition),
				replayed: optional(facts.replayed, logPosition),
			};
		default:
			throw new Error(`a frame of type ${type} is not of this protocol`);
	}
}

function decodeResume(facts: Record<string, unknown>, bytes: Buffer): Of<FromMirror, "resume"> {
	const size = 32;
	const links = count(facts.links);
	if (bytes.length < links * size) throw new Error("a resume frame is cut short");
	return {
		kind: "resume",
		links: Array.from({ length: links }, (_, i) => bytes.subarray(i * size, (i + 1) * size)),
		digest: Buffer.from(text(facts.digest), "hex"),
		previousHeader: bytes.subarray(links * size),
	};
}

function headerOf(bytes: Buffer): Buffer {
	if (bytes.length === 512) return bytes;
	throw new Error(`a log header has 512 bytes, not ${bytes.length}`);
}

const optional = <T>(value: unknown, read: (value: unknown) => T): T | undefined =>
	value === undefined || value === null ? undefined : read(value);

/** What the ssh command `stream …` says. */
export type StreamRequest = {
	/** flushed position of the mirror; createTime 0 where it asks for a file it has nothing of */
	readonly position: LogPosition;
	/** address of the mirror: one record of what it has replayed is kept under this name */
	readonly mirror: string;
	readonly compression: "none" | "zstd";
};
