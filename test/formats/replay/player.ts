import { bytesSource } from "../../../src/formats/redolog/cursor.ts";
import { headerSize, parseHeader } from "../../../src/formats/redolog/header.ts";
import { formatTransaction, type LogRecord } from "../../../src/formats/redolog/record.ts";
import { LogWalk } from "../../../src/formats/redolog/walker.ts";

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
export function play(files: readonly Buffer[]): Run {
	const run: Run = { executed: [], linked: new Map(), lost: [] };
	const open = new Map<string, { record: LogRecord; file: Buffer }>();
	const blobs = new Map<string, string>();
	for (const file of files) {
		const header = parseHeader(file);
		if (header === undefined || header.fileSize !== file.length || header.open)
			throw new Error("not a log that was closed");
		const walk = new LogWalk(bytesSource(file));
		for (const record of walk) {
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
		if (walk.end?.kind === "torn") throw new Error("a torn tail, in which the player searches");
		if (walk.end?.kind === "unreadable") throw new Error(`unreadable: ${walk.end.reason}`);
	}
	return run;
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
