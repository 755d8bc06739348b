import { Buffer } from "node:buffer";
import { closeSync, openSync, readSync } from "node:fs";

/** One for all reads: a look at every process must not leave a buffer behind for each. */
let buffer = Buffer.allocUnsafe(16 * 1024);

/** A file of a process, such as `stat` or `cmdline`. Throws an ENOENT or ESRCH where it is gone. */
export function readProc(pid: number, name: string): string {
	const file = openSync(`/proc/${pid}/${name}`, "r");
	try {
		// Such a file is given whole in one read, where there is room for it.
		for (;;) {
			const length = readSync(file, buffer, 0, buffer.length, 0);
			if (length < buffer.length) return buffer.toString("latin1", 0, length);
			buffer = Buffer.allocUnsafe(2 * buffer.length);
		}
	} finally {
		closeSync(file);
	}
}
