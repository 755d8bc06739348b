import { once } from "node:events";
import type { Writable } from "node:stream";
import { constants, createZstdCompress } from "node:zlib";
import { type Compression, formatGreeting } from "../../formats/protocol/frames.ts";

/**
 * The live side's end of the stream: whole frames in, compressed bytes out, never more in memory
 * than the peer's window leaves unsent.
 */
export class StreamWriter {
	readonly #out: Writable;
	readonly #flush: (signal: AbortSignal) => Promise<void>;

	constructor(output: Writable, compression: Compression) {
		output.write(formatGreeting(compression));
		if (compression === "none") {
			this.#out = output;
			this.#flush = async () => undefined;
			return;
		}
		// Large pieces, since each is handed to another thread and back.
		// The fastest level: mail is text, and the redo log must not wait for the processor.
		const zstd = createZstdCompress({
			chunkSize: 256 * 1024,
			params: { [constants.ZSTD_c_compressionLevel]: 1 },
		});
		zstd.pipe(output);
		this.#out = zstd;
		this.#flush = (signal) =>
			new Promise((resolve, reject) => {
				// A peer that takes nothing more holds up the compressor, and its word would never come.
				const abort = () => reject(signal.reason);
				signal.addEventListener("abort", abort, { once: true });
				zstd.flush(constants.ZSTD_e_flush, () => {
					signal.removeEventListener("abort", abort);
					resolve();
				});
			});
	}

	/** Takes a frame; waits while the peer is slower than we are. */
	async write(frame: Buffer, signal: AbortSignal): Promise<void> {
		signal.throwIfAborted();
		if (!this.#out.write(frame)) await once(this.#out, "drain", { signal });
	}

	/** Sends what the compressor still holds. */
	async flush(signal: AbortSignal): Promise<void> {
		signal.throwIfAborted();
		await this.#flush(signal);
	}
}
