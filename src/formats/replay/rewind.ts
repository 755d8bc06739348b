import { operationName, storeIncomingBlob } from "../redolog/layouts.ts";
import { type Place, type ReplayedPosition, startAt } from "./replayed-position.ts";
import { type ReplayLog, scanReplay } from "./scan.ts";
import { type CommittedOperation, ReplayState } from "./state.ts";

export type Rewound = {
	/** the position at the last record boundary that the cut leaves */
	readonly position: ReplayedPosition;
	/**
	 * Executed here, and gone on the live server with their change records: history of our own.
	 * Stored blobs are not counted, they show nowhere.
	 */
	readonly lost: readonly LostOperation[];
};

type LostOperation = Pick<CommittedOperation, "id" | "name" | "mailboxId">;

/**
 * What a replayed position becomes when the live server has cut the log of the position at `cut`, below
 * it: a power loss there took bytes that were executed here. `log` is the log as it was before the cut,
 * at least as far as `position`. What was executed from the bytes that are gone is remembered in the new
 * position, so that it is left out when the live server commits it again.
 *
 * Must be called, and its result written, before the local bytes are cut. Reads the log up to the
 * position. Throws what the source throws.
 */
export function rewind(position: ReplayedPosition, log: ReplayLog, cut: number): Rewound {
	if (cut >= position.offset) return { position, lost: [] };
	const { sequence, createTime } = position.log;
	const growing = { ...log, closed: false };
	// A log begins with nothing open: what is open in it is logged in it.
	const beginning = { ...startAt(position.log), executed: position.executed };
	const state = new ReplayState(beginning);
	let boundary = beginning.offset;
	const upToCut = { logs: [growing], from: beginning, to: { sequence, offset: cut } };
	for (const event of scanReplay(upToCut, state))
		if (event.kind === "log end") boundary = event.good;
	const left = state.at(position.log, boundary);

	const executed = new Set(left.executed);
	const lost: LostOperation[] = [];
	const upToPosition = { sequence, offset: position.offset };
	const gone = { logs: [growing], from: left, to: upToPosition };
	const passed = new ReplayState(left);
	for (const event of scanReplay(gone, passed)) {
		if (event.kind !== "committed") continue;
		const { operation } = event;
		// A blob that is stored once more does no harm, and later links need it.
		if (operation.opcode === storeIncomingBlob || operation.fate === "not executable") continue;
		if (operation.fate === "left out") continue;
		if (operation.change.offset >= boundary) lost.push(operation);
		else executed.add(operation.id);
	}
	// Of what was executed before an earlier cut, and is not committed again yet, the change record too.
	const still = new Set(left.open.map(({ id }) => id));
	for (const { id, opcode, mailboxId, name = operationName(opcode) } of passed.open.values())
		if (executed.has(id) && !still.has(id)) lost.push({ id, name, mailboxId });

	const isGone = (place: Place) =>
		place.sequence === sequence && place.createTime === createTime && place.offset >= boundary;
	const blobs = new Map(
		[...position.blobs.filter(({ commit }) => !isGone(commit)), ...left.blobs].map((blob) => [
			blob.path,
			blob,
		]),
	);
	return {
		position: {
			...left,
			open: left.open.filter(({ id }) => !executed.has(id)),
			blobs: [...blobs.values()],
			executed: [...executed],
		},
		lost,
	};
}
