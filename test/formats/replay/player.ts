import { bytesSource } from "../../../src/formats/redolog/cursor.ts";
import { headerSize, parseHeader } from "../../../src/formats/redolog/header.ts";
import { formatTransaction, type LogRecord } from "../../../src/formats/redolog/record.ts";
import { LogWalk } from "../../../src/formats/redolog/walker.ts";
import * as build from "../redolog/build.ts";

/** What this player reads beyond what the walker does, and behind bad bytes. */
const plain = { extensions: false };

/** What a run of the player did. */
export type Run = {
	/** transaction ids, in the order in which they were executed; stored blobs are not among them */
	executed: string[];
	/** the body that each link got, by transaction id */
	linked: Map<string, string>;
	/** transaction ids of links that found no blob: their mail is lost, and the player says nothing */
	lost: string[];
};

/**
 * A player with the harshness of Zimbra's: the transactions and the blobs that it knows live for one
 * run; it executes, at its commit record, what has a change record within the run; a link without
 * a blob within the run is lost; an unknown opcode loses the rest of the file; a file that is no log
 * ends the run. See "Reader" and "zmplayredo" in the README of the samples.
 */
export function play(files: readonly Buffer[], knows: { extensions: boolean } = plain): Run {
	const run: Run = { executed: [], linked: new Map(), lost: [] };
	const open = new Map<string, { record: Played; file: Buffer }>();
	const blobs = new Map<string, string>();
	for (const file of files) {
		const header = parseHeader(file);
		if (header === undefined || header.fileSize !== file.length || header.open)
			throw new Error("not a log that was closed");
		for (const record of recordsOf(file, knows)) {
			const id = formatTransaction(record.transaction);
			if (record.oddity === "misread over its end") throw new Error("a record that eats the next");
			if (record.oddity === "not executed") continue;
			if (record.kind === "change") open.set(id, { record, file });
			if (record.kind !== "commit" && record.kind !== "abort") continue;
			const change = open.get(id);
			open.delete(id);
			if (record.kind === "abort" || change === undefined) continue;
			const { blobPath, linkPath, body } = change.record;
			if (blobPath !== undefined) {
				const { offset = 0, length = 0 } = body ?? {};
				blobs.set(blobPath, change.file.toString("latin1", offset, offset + length));
				continue;
			}
			run.executed.push(id);
			if (linkPath === undefined) continue;
			const blob = blobs.get(linkPath);
			if (blob === undefined) run.lost.push(id);
			else run.linked.set(id, blob);
		}
	}
	return run;
}

type Played = Pick<LogRecord, "transaction" | "kind" | "oddity" | "blobPath" | "linkPath" | "body">;

/** The records of a file as the player reads them. */
function* recordsOf(file: Buffer, { extensions }: typeof plain): Generator<Played, void> {
	let from = headerSize;
	for (;;) {
		const walk = new LogWalk(bytesSource(file), { from });
		yield* walk;
		const { end, endHead } = walk;
		if (end?.kind === "torn") throw new Error("a torn tail, in which the player searches");
		if (end?.kind === "unreadable" && !extensions) throw new Error(`unreadable: ${end.reason}`);
		if (end?.kind === "clean" || end === undefined || !extensions) return;
		const length = endHead && build.extensionAt(file, end.offset);
		if (endHead !== undefined && length !== undefined)
			yield { transaction: endHead.transaction, kind: "change" };
		// An opcode that it has no name for loses the rest of the file; behind bad bytes it searches.
		else if (end.kind === "unknown opcode" && !end.named) return;
		const next = file.indexOf("ZMREDO", end.offset + (length ?? 1));
		if (next < 0) return;
		from = next;
	}
}

/** The bytes of a file that a plan names by places. */
export function materialise(
	header: Buffer,
	pieces: readonly { sequence: number; createTime: number; offset: number; length: number }[],
	bytesOf: (place: { sequence: number; createTime: number }) => Buffer,
): Buffer {
	return Buffer.concat([
		header,
		...pieces.map((piece) => {
			const bytes = bytesOf(piece);
			if (piece.offset < headerSize || piece.offset + piece.length > bytes.length)
				throw new Error("a piece that is not there");
			return bytes.subarray(piece.offset, piece.offset + piece.length);
		}),
	]);
}
