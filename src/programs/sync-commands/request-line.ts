import { Buffer } from "node:buffer";
import type { Readable } from "node:stream";
import { maxRequestLength } from "../../formats/protocol/request.ts";

/** A client that says nothing is not waited for. */
const deadlineMs = 10_000;

/**
 * Reads the first line of standard input and leaves what follows it there. The end of the input ends
 * the line too, as it did for the `read` of the 2011 script.
 * Throws where the line is too long or does not come.
 */
export function readRequestLine(input: Readable, timeoutMs = deadlineMs): Promise<string> {
	return new Promise((resolve, reject) => {
		const pieces: Buffer[] = [];
		let length = 0;
		const finish = (result: Error | string) => {
			clearTimeout(timer);
			input.off("readable", take).off("end", end).off("error", fail);
			if (result instanceof Error) reject(result);
			else resolve(result);
		};
		const text = (...more: Buffer[]) => Buffer.concat([...pieces, ...more]).toString("latin1");
		const take = () => {
			for (let piece: Buffer | null = input.read(); piece !== null; piece = input.read()) {
				const feed = piece.indexOf(10);
				if (feed >= 0 && length + feed <= maxRequestLength) {
					const rest = piece.subarray(feed + 1);
					finish(text(piece.subarray(0, feed)));
					if (rest.length > 0) input.unshift(rest);
					return;
				}
				pieces.push(piece);
				length += piece.length;
				if (length > maxRequestLength) {
					finish(new Error(`the request is longer than ${maxRequestLength} characters`));
					return;
				}
			}
		};
		const end = () => finish(text());
		const fail = (error: Error) => finish(error);
		const timer = setTimeout(
			() => finish(new Error(`no request came within ${timeoutMs / 1000} s`)),
			timeoutMs,
		);
		input.on("readable", take).on("end", end).on("error", fail);
	});
}
