import { setTimeout as sleep } from "node:timers/promises";
import { openPlainFile, readAt } from "../../services/files.ts";
import { Wake } from "../../services/wake.ts";
import type { Serve } from "./context.ts";
import { complain, say } from "./output.ts";

const pollMs = 500;
const pieceBytes = 256 * 1024;
/** Longer than the moment of a rollover in which there is no redo.log. */
const missingMs = 3000;

/**
 * What `tail -c +0 -f redo.log` did in 2011: the whole file, then what is appended, for as long as the
 * client is there. It stays with the file when that is rolled over, and is then silent.
 *
 * In one thing it is better: when mailboxd has crashed and its recovery has cut a torn record off, tail
 * sends the whole file a second time behind what it has sent. Here the stream goes on at the cut, which
 * leaves the mirror with a torn record in the middle, over which zmplayredo steps.
 */
export const serve: Serve<"stream"> = async (_, { config, signal }) => {
	const { currentLog, redolog } = config.zimbra;
	// Before the file is opened, so that no append is missed in between.
	using wake = new Wake([redolog], pollMs);
	await using file = await openSoon(currentLog);
	let offset = 0;
	for (;;) {
		const bytes = await readAt(file, offset, pieceBytes);
		if (bytes.length > 0) {
			await say(bytes, signal);
			offset += bytes.length;
			continue;
		}
		const { size } = await file.stat();
		if (size < offset) {
			complain(`sync-commands: ${currentLog}: file truncated, going on at ${size}`);
			offset = size;
		}
		await wake.wait(signal);
		signal.throwIfAborted();
	}
};

async function openSoon(path: string) {
	const deadline = performance.now() + missingMs;
	for (;;) {
		const file = await openPlainFile(path);
		if (file !== undefined) return file;
		if (performance.now() > deadline) {
			throw new Error(`${path} is not there: is redo logging on, and has mailboxd run?`);
		}
		await sleep(20);
	}
}
