import { createHash } from "node:crypto";
import { constants, type FileHandle, open } from "node:fs/promises";
import { dirname } from "node:path";
import type { LogIdentity } from "../../formats/redolog/position.ts";
import { openIfThere, readAt, syncData, syncDirectory, writeAt } from "../files.ts";

/**
 * Which bytes of the local redo.log came from the live server. Kept in redolog/ beside the log, so
 * that it goes wherever the log goes; its presence tells that this directory is a mirror's.
 */
export type Provenance = {
	readonly identity: LogIdentity;
	/** bytes before this offset came with the initial copy, not over the stream */
	readonly from: number;
	/** bytes up to here were received and are on disk */
	readonly upTo: number;
	/** the digest chain at `upTo`, in hex: what was received, and nothing else */
	readonly digest: string;
	/** SHA-256 of the headers that we wrote last, in hex: one that is about to be written included */
	readonly headers: readonly string[];
	/** whether a receiver was at work: bytes behind `upTo` are then the rest of its last write */
	readonly receiving: boolean;
};

const slotSize = 2048;

/**
 * The record, in two slots that are written in turn, in place: a torn write leaves the other slot,
 * and a full disk has room for it, since nothing is allocated.
 */
export class ProvenanceFile implements AsyncDisposable {
	readonly #file: FileHandle;
	#generation: number;
	#current: Provenance | undefined;
	#last: Promise<unknown> = Promise.resolve();

	private constructor(file: FileHandle, generation: number, current: Provenance | undefined) {
		this.#file = file;
		this.#generation = generation;
		this.#current = current;
	}

	/** Opens the record; makes an empty one, durably, where there is none. */
	static async open(path: string): Promise<ProvenanceFile> {
		const file = await open(path, constants.O_RDWR | constants.O_CREAT, 0o640);
		const { size } = await file.stat();
		if (size < 2 * slotSize) {
			await writeAt(file, size, Buffer.alloc(2 * slotSize - size));
			await file.sync();
			await syncDirectory(dirname(path));
		}
		const newest = await readNewest(file);
		return new ProvenanceFile(file, newest?.generation ?? 0, newest?.record);
	}

	get current(): Provenance | undefined {
		return this.#current;
	}

	/** Changes the record, one change after the other; when it returns, it is on disk. */
	async update(change: (known: Provenance | undefined) => Provenance): Promise<void> {
		const written = this.#last.then(() => this.#write(change(this.#current)));
		this.#last = written.catch(() => undefined);
		await written;
	}

	async #write(record: Provenance): Promise<void> {
		const generation = this.#generation + 1;
		const text = JSON.stringify({ generation, record });
		const slot = Buffer.alloc(slotSize);
		const length = slot.write(`${checksum(text)} ${text}\n`);
		if (length === slotSize) throw new RangeError("a provenance record is too long");
		await writeAt(this.#file, (generation % 2) * slotSize, slot);
		await syncData(this.#file);
		this.#generation = generation;
		this.#current = record;
	}

	async [Symbol.asyncDispose](): Promise<void> {
		await this.#file.close();
	}
}

/** The record as it is on disk; undefined where this directory never was a mirror's. */
export async function readProvenance(path: string): Promise<Provenance | undefined> {
	await using file = await openIfThere(path, "r");
	return file === undefined ? undefined : (await readNewest(file))?.record;
}

async function readNewest(
	file: FileHandle,
): Promise<{ generation: number; record: Provenance } | undefined> {
	const slots = await Promise.all(
		[0, 1].map(async (slot) => parseSlot(await readAt(file, slot * slotSize, slotSize))),
	);
	return slots
		.filter((slot) => slot !== undefined)
		.toSorted((a, b) => b.generation - a.generation)[0];
}

function parseSlot(bytes: Buffer): { generation: number; record: Provenance } | undefined {
	const line = bytes.toString("utf8").split("\n", 1)[0] ?? "";
	const [sum, text] = [line.slice(0, 64), line.slice(65)];
	return sum === checksum(text) ? JSON.parse(text) : undefined;
}

const checksum = (text: string): string => createHash("sha256").update(text).digest("hex");

export const headerDigest = (header: Uint8Array): string =>
	createHash("sha256").update(header).digest("hex");
