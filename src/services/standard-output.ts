import { Buffer } from "node:buffer";
import { writeSync } from "node:fs";
import { hasCode } from "../errors.ts";

/**
 * Writes a short command's whole answer to standard output, and returns when it is out of this
 * process. Without process.stdout: that makes a stream of it, and loads node:net for a pipe, which
 * takes longer than all else that such a command does. Throws an EPIPE where nobody reads any more.
 */
export async function answer(text: string): Promise<void> {
	let rest = Buffer.from(text);
	try {
		while (rest.length > 0) rest = rest.subarray(writeSync(1, rest));
	} catch (error) {
		// Somebody who shares the pipe has made it non-blocking, and it is full.
		if (!hasCode(error, "EAGAIN")) throw error;
		await new Promise<void>((resolve, reject) => {
			process.stdout.once("error", reject);
			process.stdout.write(rest, (failed) => (failed ? reject(failed) : resolve()));
		});
	}
}
