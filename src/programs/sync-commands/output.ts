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
 * nobody reads any more. A client that is there and does not read holds a write up for ever.
 * @param signal ends the wait, not the write
 */
export function say(text: string | Uint8Array, signal: AbortSignal): Promise<void> {
	return new Promise((resolve, reject) => {
		signal.throwIfAborted();
		const abort = () => reject(signal.reason);
		signal.addEventListener("abort", abort, { once: true });
		output().write(text, (error) => {
			signal.removeEventListener("abort", abort);
			if (error) reject(error);
			else resolve();
		});
	});
}

/** A verb that waits for hours looks so often whether its client still reads. */
const pulseMs = 10_000;

/**
 * Writes a blank line now and then, and throws an EPIPE where nobody reads any more: a client may close its
 * channel and keep the connection, and nothing but a write tells that. The end of standard input does not
 * (`echo wait_redo | ssh …`), and Node can not poll an end that it writes to. On a dead line the write is
 * also what makes sshd's kernel notice (see client.ts). The mirror of 2011 takes the last line of what it
 * reads, and of wait_ldap only that it ends.
 */
export function makePulse(signal: AbortSignal): () => Promise<void> {
	let last = performance.now();
	return async () => {
		if (performance.now() - last < pulseMs) return;
		await say("\n", signal);
		last = performance.now();
	};
}

/** A line for the person or the log at the other end; nobody has to be there to read it. */
export function complain(text: string): void {
	try {
		writeSync(2, `${text}\n`);
	} catch (error) {
		if (!hasCode(error, "EPIPE", "EAGAIN", "EBADF")) throw error;
	}
}
