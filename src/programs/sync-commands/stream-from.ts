import { join } from "node:path";
import {
	formatMirrorRecord,
	type MirrorRecord,
	mirrorRecordName,
} from "../../formats/protocol/mirror-record.ts";
import { serveStream } from "../../loops/sender/serve-stream.ts";
import { now } from "../../services/clock.ts";
import { makeDirectory, readIfThere, writeDurably } from "../../services/files.ts";
import { readRole } from "../../services/role.ts";
import type { Serve, ServedLog } from "./context.ts";
import { output } from "./output.ts";

/** The redo log from the mirror's position, without end. */
export const serve: Serve<"stream_from"> = async ({ stream }, { config, input, signal, log }) => {
	const { mirror } = stream;
	const record = new RecordKeeper(config.base.mirrors, mirror, log);
	await record.begin();
	const { timeline } = await readRole(config.base.role);
	const client = output();
	signal.addEventListener("abort", () => client.destroy());
	const onReplayed = (replayed: MirrorRecord["replayed"]) => record.replayed(replayed);
	const reason = await serveStream(stream, { config, timeline, onReplayed }, input(), client);
	await record.settled();
	log("info", "stream ended", { mirror, reason });
	return 0;
};

/**
 * Keeps what a mirror says it has replayed: `purge` may remove nothing that a mirror still needs. One
 * write at a time, always of the newest, since a slow disk must not hold up the stream.
 */
class RecordKeeper {
	readonly #path: string;
	readonly #directory: string;
	readonly #mirror: string;
	readonly #log: ServedLog;
	#next: MirrorRecord["replayed"] | undefined;
	#writing: Promise<void> | undefined;

	constructor(directory: string, mirror: string, log: ServedLog) {
		this.#directory = directory;
		this.#path = join(directory, mirrorRecordName(mirror));
		this.#mirror = mirror;
		this.#log = log;
	}

	/** A mirror is known from its first connection on, before it has replayed anything. */
	async begin(): Promise<void> {
		if ((await readIfThere(this.#path)) === undefined) this.replayed(null);
		await this.settled();
	}

	replayed(position: MirrorRecord["replayed"]): void {
		this.#next = position;
		this.#writing ??= this.#write();
	}

	async settled(): Promise<void> {
		await this.#writing;
	}

	async #write(): Promise<void> {
		while (this.#next !== undefined) {
			const replayed = this.#next;
			this.#next = undefined;
			try {
				await makeDirectory(this.#directory);
				const record: MirrorRecord = { version: 1, mirror: this.#mirror, replayed, at: now() };
				await writeDurably(this.#path, formatMirrorRecord(record));
			} catch (error) {
				// An old record errs on the safe side, and the stream must go on.
				const facts = { file: this.#path, reason: String(error) };
				this.#log("error", "what a mirror has replayed could not be kept", facts);
			}
		}
		this.#writing = undefined;
	}
}
