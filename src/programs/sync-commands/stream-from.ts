import { rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { Refusal } from "../../errors.ts";
import type { LogPosition } from "../../formats/protocol/messages.ts";
import {
	formatMirrorRecord,
	isRecordOf,
	type MirrorRecord,
	mirrorRecordName,
} from "../../formats/protocol/mirror-record.ts";
import { serveStream } from "../../loops/sender/serve-stream.ts";
import { now } from "../../services/clock.ts";
import { makeDirectory, writeDurably } from "../../services/files.ts";
import { readRecord, recordNames } from "../../services/mirrors.ts";
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
	signal.addEventListener("abort", () => {
		client.destroy();
		// Also while the mirror's first word is waited for.
		input().destroy(signal.reason);
	});
	const onReplayed = (replayed: LogPosition) => record.replayed(replayed);
	const hearing = setInterval(() => void record.heard(), heardEveryMs);
	const reason = await serveStream(
		stream,
		{ config, timeline, onReplayed },
		input(),
		client,
	).finally(() => clearInterval(hearing));
	await record.settled();
	log("info", "stream ended", { mirror, reason });
	return 0;
};

/** Each record holds archives back for ever, and whoever has the key chooses the address. */
const mostMirrors = 8;

/** How often the record says that the mirror was heard of, while it has nothing new to say. */
const heardEveryMs = 60_000;

/**
 * Keeps what a mirror says it has replayed: `purge` may remove nothing that a mirror still needs. One
 * write at a time, always of the newest, since a slow disk must not hold up the stream.
 */
class RecordKeeper {
	readonly #path: string;
	readonly #directory: string;
	readonly #log: ServedLog;
	#record: MirrorRecord;
	#due = false;
	#writing: Promise<boolean> | undefined;

	constructor(directory: string, mirror: string, log: ServedLog) {
		this.#directory = directory;
		this.#path = join(directory, mirrorRecordName(mirror));
		this.#record = { version: 1, mirror, replayed: null, at: now() };
		this.#log = log;
	}

	/**
	 * A mirror is known from its first connection on, before it has replayed anything. Its records under
	 * other spellings of the address, as version 2.0.0 made them, become this one.
	 * Throws a {@link Refusal} (too-many-mirrors).
	 */
	async begin(): Promise<void> {
		const { mirror } = this.#record;
		const names = await recordNames(this.#directory);
		const own = names.filter((name) => isRecordOf(name, mirror));
		if (own.length === 0 && names.length >= mostMirrors) {
			throw new Refusal(
				"too-many-mirrors",
				`mirror ${mirror} is not known here, and ${names.length} others are, as many as there may be`,
				"drop those that are no more, on this server: live-syncd status lists them; live-syncd forget ADDRESS",
			);
		}
		const records = await Promise.all(own.map((name) => readRecord(join(this.#directory, name))));
		const [last] = records
			.filter((record) => record !== undefined)
			.toSorted((a, b) => b.at.wall - a.at.wall);
		this.#record = { ...this.#record, ...last, mirror };
		if (!(await this.heard())) return;
		const others = own.filter((name) => name !== basename(this.#path));
		for (const name of others) await rm(join(this.#directory, name), { force: true });
	}

	replayed(replayed: LogPosition): void {
		this.#record = { ...this.#record, replayed, at: now() };
		this.#due = true;
		this.#writing ??= this.#write();
	}

	/** Resolves when that is kept; false where it could not be. */
	async heard(): Promise<boolean> {
		this.#due = true;
		this.#writing ??= this.#write();
		return await this.#writing;
	}

	async settled(): Promise<void> {
		await this.#writing;
	}

	async #write(): Promise<boolean> {
		let kept = true;
		while (this.#due) {
			this.#due = false;
			try {
				await makeDirectory(this.#directory);
				const record = { ...this.#record, heardAt: now() };
				await writeDurably(this.#path, formatMirrorRecord(record));
				kept = true;
			} catch (error) {
				// An old record errs on the safe side, and the stream must go on.
				const facts = { file: this.#path, reason: String(error) };
				this.#log("error", "what a mirror has replayed could not be kept", facts);
				kept = false;
			}
		}
		this.#writing = undefined;
		return kept;
	}
}
