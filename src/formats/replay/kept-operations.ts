import { headerSize } from "../redolog/header.ts";
import { findBlobs } from "./look-back.ts";
import type { PlannedFile } from "./plan.ts";
import type { Place, StoredBlob } from "./replayed-position.ts";
import { endOf, type ReplayRange, scanReplay } from "./scan.ts";
import { type CommittedOperation, ReplayState } from "./state.ts";

/** Operations of a range, with all that zmplayredo needs to execute them later. */
export type KeptOperations = {
	/** in order of their commit records */
	readonly operations: readonly CommittedOperation[];
	/** a redo log of them and of the blobs they link; undefined where there are none */
	readonly file: PlannedFile | undefined;
};

/** Finds the operations that `wanted` chooses and makes a redo log of them alone. */
export async function keptOperations(
	range: ReplayRange,
	wanted: (operation: CommittedOperation) => boolean,
	pause: () => Promise<void> = () => Promise.resolve(),
): Promise<KeptOperations> {
	const state = new ReplayState(range.from);
	const operations: CommittedOperation[] = [];
	const blobs = new Map<string, StoredBlob>();
	const missing = new Set<string>();
	for (const event of scanReplay(range, state)) {
		if (event.kind === "tick") await pause();
		if (event.kind !== "committed" || !wanted(event.operation)) continue;
		operations.push(event.operation);
		const path = event.operation.linkPath;
		if (path === undefined || blobs.has(path)) continue;
		const blob = state.blobs.get(path);
		if (blob === undefined) missing.add(path);
		else blobs.set(path, blob);
	}
	if (missing.size > 0) {
		const found = await findBlobs(range, missing, pause, endOf(range));
		for (const [path, blob] of found) blobs.set(path, blob);
	}
	const { header } = range.logs.find(
		({ identity }) => identity.sequence === range.from.log.sequence,
	) ?? { header: undefined };
	if (operations.length === 0 || header === undefined) return { operations, file: undefined };
	const pieces: Place[] = [...blobs.values(), ...operations].flatMap((each) => [
		each.change,
		each.commit,
	]);
	const fileSize = pieces.reduce((sum, { length }) => sum + length, headerSize);
	return {
		operations,
		file: { kind: "slice", header: { ...header, open: false, fileSize }, pieces },
	};
}

/** One line for each, for people and for tools: tab separated. */
export function formatOperations(operations: readonly CommittedOperation[]): string {
	const head = "transaction\toperation\tmailbox\tcommitted\tposition\n";
	return operations.reduce((text, { id, name, mailboxId, timestamp, commit }) => {
		const at = `${commit.sequence}:${commit.offset}`;
		return `${text}${id}\t${name}\t${mailboxId}\t${new Date(timestamp).toISOString()}\t${at}\n`;
	}, head);
}
