import { writeSync } from "node:fs";
import { hasCode } from "../../errors.ts";

let listening = false;

/**
 * Standard output. Taken only where it is written to: a child that inherits it must find it as sshd
 * made it, and Node makes it non-blocking.
 */
export function output(): typeof process.stdout {
	// A client that is gone is told by the callback of the write that failed.
	if (!listening) process.stdout.on("error", () => undefined);
	listening = true;
	return process.stdout;
}

/**
 * Writes to the client, and returns when the text is out of this process. Throws an EPIPE where
 * nobody reads any more.
 */
export function say(text: string | Uint8Array): Promise<void> {
	return new Promise((resolve, reject) => {
		output().write(text, (error) => (error ? reject(error) : resolve()));
	});
}

/** A line for the person or the log at the other end; nobody has to be there to read it. */
export function complain(text: string): void {
	try {
		writeSync(2, `${text}\n`);
	} catch (error) {
		if (!hasCode(error, "EPIPE", "EAGAIN", "EBADF")) throw error;
	}
}
