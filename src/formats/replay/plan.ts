import { headerSize, type LogHeader } from "../redolog/header.ts";
import type { Position } from "../redolog/position.ts";
import { findBlobs } from "./look-back.ts";
import {
	type OpenTransaction,
	oldestNeeded,
	type Place,
	type ReplayedPosition,
	type StoredBlob,
} from "./replayed-position.ts";
import {
	endOf,
	type Gap,
	placeIn,
	type ReplayLog,
	type ReplayRange,
	type ScanEnd,
	scanReplay,
} from "./scan.ts";
import { type AbortedLink, type CommittedOperation, ReplayState } from "./state.ts";

/**
 * A file that zmplayredo is given.
 * - `archive`: a log as it stands in the archive
 * - `slice`: to be written: the header, its size set to that of the slice, and the pieces
 */
export type PlannedFile =
	| { readonly kind: "archive"; readonly log: ReplayLog }
	| { readonly kind: "slice"; readonly header: LogHeader; readonly pieces: readonly Place[] };

/** What an admin must be told of a replay, beside what it executes. */
export type ReplayRemark =
	| { readonly kind: "torn"; readonly place: Place }
	| ({ readonly kind: "gap" } & Gap)
	| {
			readonly kind: "misread" | "not executable" | "left out" | "link without blob";
			readonly operation: CommittedOperation;
	  }
	| { readonly kind: "aborted link"; readonly link: AbortedLink }
	/** executed here before a cut of the live log, aborted there after it */
	| { readonly kind: "contradicted"; readonly id: string };

export type ReplayPlan = {
	/** in this order; empty where there is nothing to execute */
	readonly files: readonly PlannedFile[];
	/** the position when the files have been executed */
	readonly position: ReplayedPosition;
	/** the lowest position from which bytes are needed after that */
	readonly oldestNeeded: Position;
	readonly counts: {
		/** operations that zmplayredo executes, stored blobs included */
		readonly executed: number;
		readonly uncertain: number;
		readonly notExecutable: number;
		readonly leftOut: number;
		readonly aborted: number;
		/** new bytes of the log, carried ones not counted */
		readonly bytes: number;
		readonly carriedBytes: number;
	};
	/** time of the newest commit record, ms since the epoch; undefined if none is replayed */
	readonly newestCommit: number | undefined;
	/** mailboxes that the replay creates, with the account that must be in LDAP before */
	readonly newMailboxes: readonly { readonly mailboxId: number; readonly accountId: string }[];
	/** the first 1000 */
	readonly remarks: readonly ReplayRemark[];
	readonly remarkCount: number;
	/** zmplayredo is given what it may not know, and can drop the rest of a file */
	readonly mayDrop: boolean;
	readonly end: ScanEnd;
};

const mostRemarks = 1000;

/**
 * Plans the replay of what was committed from `range.from` up to `range.to`: which files zmplayredo
 * is to be given, so that it executes each of those operations once and no other.
 *
 * The files are whole archives where these are right as they are, else slices: the change records
 * that were open at the beginning and the stored blobs that are linked, from where they stand; then
 * the new bytes, without those that must not be executed. Blobs that are carried are stored a second
 * time, which does no harm.
 *
 * Reads the logs; `pause` is awaited every few thousand records. Throws what the sources throw.
 */
export async function planReplay(
	range: ReplayRange,
	pause: () => Promise<void> = () => Promise.resolve(),
): Promise<ReplayPlan> {
	const state = new ReplayState(range.from);
	const planner = new Planner(range, state);
	const scan = scanReplay(range, state);
	for (;;) {
		const step = scan.next();
		if (step.done) return await planner.finish(step.value, pause);
		const event = step.value;
		switch (event.kind) {
			case "log":
				planner.beginLog(event.log, event.from);
				break;
			case "committed":
				planner.committed(event.operation);
				break;
			case "omit":
				planner.omit(event.place);
				break;
			case "gap":
				planner.gap(event.gap);
				break;
			case "log end":
				planner.endLog(event.good, event.to);
				break;
			case "tick":
				await pause();
		}
	}
}

/**
 * The operations that a plan made from the same range deals with, in order of their commit records.
 * Reads the logs again instead of keeping them in memory.
 */
export function* committedOperations(range: ReplayRange): Generator<CommittedOperation, void> {
	for (const event of scanReplay(range, new ReplayState(range.from)))
		if (event.kind === "committed") yield event.operation;
}

class Planner {
	readonly #range: ReplayRange;
	readonly #state: ReplayState;
	readonly #remembered: ReadonlyMap<string, StoredBlob>;
	readonly #files: PlannedFile[] = [];
	readonly #remarks: ReplayRemark[] = [];
	readonly #newMailboxes: { mailboxId: number; accountId: string }[] = [];
	readonly #carriedOpen = new Set<OpenTransaction>();
	readonly #carriedBlobs = new Set<StoredBlob>();
	/** links whose blob is neither in the new bytes nor remembered */
	readonly #unlinked: CommittedOperation[] = [];
	readonly #counts = { executed: 0, uncertain: 0, notExecutable: 0, leftOut: 0, bytes: 0 };
	#remarkCount = 0;
	#newestCommit: number | undefined;
	#gaps = false;
	#log: ReplayLog | undefined;
	#reached: Position;
	#from = 0;
	/** the new bytes of the current log, a list for each file that they must be given as */
	#parts: Place[][] = [[]];
	#next = 0;
	#asItIs = true;

	constructor(range: ReplayRange, state: ReplayState) {
		this.#range = range;
		this.#state = state;
		this.#remembered = new Map(state.blobs);
		this.#reached = { sequence: range.from.log.sequence, offset: range.from.offset };
	}

	beginLog(log: ReplayLog, from: number): void {
		this.#log = log;
		this.#from = from;
		this.#next = from;
		this.#parts = [[]];
		this.#asItIs = true;
	}

	committed(operation: CommittedOperation): void {
		this.#newestCommit = Math.max(this.#newestCommit ?? 0, operation.timestamp);
		switch (operation.fate) {
			case "left out":
				this.#counts.leftOut++;
				this.#remark({ kind: "left out", operation });
				return;
			case "not executable":
				this.#counts.notExecutable++;
				this.#remark({ kind: "not executable", operation });
				return;
			case "uncertain":
				this.#counts.uncertain++;
				break;
			case "executed":
				this.#counts.executed++;
		}
		if (operation.oddity !== undefined) this.#remark({ kind: "misread", operation });
		const { mailboxId, accountId, linkPath } = operation;
		if (accountId !== undefined) this.#newMailboxes.push({ mailboxId, accountId });
		if (linkPath !== undefined) this.#link(linkPath, operation);
	}

	#link(path: string, operation: CommittedOperation): void {
		const blob = this.#state.blobs.get(path);
		if (blob === undefined) this.#unlinked.push(operation);
		// The very blob that was remembered at the beginning: the new bytes have none of that path.
		else if (this.#remembered.get(path) === blob) this.#carriedBlobs.add(blob);
	}

	omit(place: Place): void {
		this.#asItIs = false;
		this.#takeUpTo(place.offset);
		this.#next = place.offset + place.length;
	}

	gap(gap: Gap): void {
		this.#gaps = true;
		this.#remark({ kind: "gap", ...gap });
		if (!gap.endsFile) return;
		this.#asItIs = false;
		this.#takeUpTo(gap.place.offset + gap.place.length);
		this.#parts.push([]);
	}

	endLog(good: number, to: number): void {
		const log = this.#log as ReplayLog;
		// Zimbra's reader looks for records inside a body that is cut short, and could execute what it
		// finds there: a torn tail is never given to it.
		if (to > good) this.#remark({ kind: "torn", place: placeIn(log, good, to - good) });
		this.#takeUpTo(Math.max(good, this.#next));
		this.#reached = { sequence: log.identity.sequence, offset: to };
		this.#counts.bytes += to - this.#from;
		if (log.identity.sequence === this.#range.from.log.sequence) this.#carryOpen();
		const whole = this.#from === headerSize && to === log.length && to === good;
		if (whole && log.closed && log.verified && this.#asItIs)
			this.#files.push({ kind: "archive", log });
		else
			for (const pieces of this.#parts)
				if (pieces.length > 0)
					this.#files.push({ kind: "slice", header: sliceHeader(log, pieces), pieces });
	}

	/**
	 * What was open at the beginning and is not open any more has ended in the first log, since in the
	 * next one all that is still open is logged again. Where some of that log cannot be walked, nobody
	 * knows what has ended.
	 */
	#carryOpen(): void {
		for (const transaction of this.#range.from.open) {
			const still = this.#state.open.get(transaction.id) === transaction;
			if (!still || this.#gaps) this.#carriedOpen.add(transaction);
		}
	}

	#takeUpTo(offset: number): void {
		if (offset > this.#next)
			this.#parts.at(-1)?.push(placeIn(this.#log as ReplayLog, this.#next, offset - this.#next));
		this.#next = offset;
	}

	#remark(remark: ReplayRemark): void {
		this.#remarkCount++;
		if (this.#remarks.length < mostRemarks) this.#remarks.push(remark);
	}

	async finish(end: ScanEnd, pause: () => Promise<void>): Promise<ReplayPlan> {
		await this.#lookBack(pause);
		// Named however much else there is to say: later nobody can.
		for (const link of this.#state.abortedLinks) {
			this.#remarkCount++;
			this.#remarks.push({ kind: "aborted link", link });
		}
		for (const id of this.#state.contradicted) this.#remark({ kind: "contradicted", id });
		const { executed, uncertain, notExecutable, leftOut, bytes } = this.#counts;
		const nothing = executed + uncertain === 0 && !this.#gaps;
		const carried = nothing ? nothingCarried : this.#carried();
		const files = nothing ? [] : withCarried(carried, this.#files, this.#range);
		const position = this.#position();
		return {
			files,
			position,
			oldestNeeded: oldestNeeded(position),
			counts: {
				executed,
				uncertain,
				notExecutable,
				leftOut,
				aborted: this.#state.aborted,
				bytes,
				carriedBytes: sizeOf([...carried.apart, ...carried.joined]) - headerSize,
			},
			newestCommit: this.#newestCommit,
			newMailboxes: this.#newMailboxes,
			remarks: this.#remarks,
			remarkCount: this.#remarkCount,
			mayDrop: this.#gaps || carried.apart.length > 0,
			end,
		};
	}

	#position(): ReplayedPosition {
		if (this.#log === undefined) return this.#range.from;
		return this.#state.at(this.#log.identity, this.#reached.offset);
	}

	/** Links whose blob is not remembered: it is in an earlier log, or nowhere. */
	async #lookBack(pause: () => Promise<void>): Promise<void> {
		const paths = new Set(this.#unlinked.flatMap(({ linkPath }) => linkPath ?? []));
		if (paths.size === 0) return;
		const found = await findBlobs(this.#range, paths, pause);
		for (const blob of found.values()) this.#carriedBlobs.add(blob);
		// Those that are in the new bytes are given along with them.
		const missing = paths.difference(found);
		const given = this.#state.forgotBlobs
			? await findBlobs(this.#range, missing, pause, endOf(this.#range))
			: found;
		for (const operation of this.#unlinked) {
			const path = operation.linkPath ?? "";
			if (!found.has(path) && !given.has(path))
				this.#remark({ kind: "link without blob", operation });
		}
	}

	#carried(): Carried {
		// Where something cannot be walked, it may link any blob.
		if (this.#gaps) for (const blob of this.#remembered.values()) this.#carriedBlobs.add(blob);
		const blobs = [...this.#carriedBlobs].sort((a, b) => comparePlaces(a.commit, b.commit));
		const open = [...this.#carriedOpen].filter(
			({ id, oddity }) =>
				oddity !== "misread over its end" && !this.#range.from.executed.includes(id),
		);
		const unwalkable = open.filter(({ unwalkable }) => unwalkable);
		const walkable = open.filter(({ unwalkable }) => !unwalkable);
		return {
			apart: unwalkable.map(({ place }) => place),
			joined: [
				...blobs.flatMap(({ change, commit }) => [change, commit]),
				...walkable.map(({ place }) => place),
			],
		};
	}
}

/** Records from before. */
type Carried = {
	/** each in a file of its own: what Zimbra's reader may not know can make it drop what follows */
	readonly apart: readonly Place[];
	readonly joined: readonly Place[];
};

const nothingCarried: Carried = { apart: [], joined: [] };

function withCarried(
	{ apart, joined }: Carried,
	files: readonly PlannedFile[],
	range: ReplayRange,
): PlannedFile[] {
	const [first, ...rest] = files;
	const log = range.logs.find(({ identity }) => identity.sequence === range.from.log.sequence);
	if (log === undefined) return [...files];
	const slice = (pieces: readonly Place[], header = sliceHeader(log, pieces)): PlannedFile => {
		return { kind: "slice", header, pieces };
	};
	const before = apart.map((place) => slice([place]));
	if (joined.length === 0) return [...before, ...files];
	if (first?.kind !== "slice") return [...before, slice(joined), ...files];
	// The usual case: one slice, with what is carried at its beginning.
	const pieces = [...joined, ...first.pieces];
	return [...before, slice(pieces, { ...first.header, fileSize: sizeOf(pieces) }), ...rest];
}

const comparePlaces = (a: Place, b: Place): number =>
	a.sequence - b.sequence || a.offset - b.offset;

const sizeOf = (pieces: readonly Place[]): number =>
	pieces.reduce((sum, { length }) => sum + length, headerSize);

/** The header of the log, as Zimbra would leave it at a close. */
const sliceHeader = (log: ReplayLog, pieces: readonly Place[]): LogHeader => ({
	...log.header,
	open: false,
	fileSize: sizeOf(pieces),
});
