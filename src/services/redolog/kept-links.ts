import { constants, open, readdir, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { digestSize } from "../../formats/redolog/digest-chain.ts";
import { makeDirectory, writeAt } from "../files.ts";

/** Chains that are kept: of the log under way, and of some before it. */
const keptChains = 16;
/** No digest: a hole that was left where links could not be kept, or a crash lost them. */
const hole = Buffer.alloc(digestSize);

/**
 * The links of the digest chains of a few logs, kept so that a reconnect need not hash gigabytes.
 * They are a hint: a comparison that fails with them is made again without, and where they cannot be
 * kept (a full disk), the stream goes on all the same.
 */
export class KeptLinks {
	readonly #directory: string;
	readonly #path: string;

	/** @param name tells the log: sequence and create time */
	constructor(directory: string, name: string) {
		this.#directory = directory;
		this.#path = join(directory, `${name}.chain`);
	}

	/** The links from the first one on, as far as they were kept without a gap. */
	async read(): Promise<Buffer[]> {
		const bytes = await readFile(this.#path).catch(() => hole);
		const links: Buffer[] = [];
		for (let at = 0; at + digestSize <= bytes.length; at += digestSize) {
			const link = bytes.subarray(at, at + digestSize);
			if (link.equals(hole)) break;
			links.push(link);
		}
		return links;
	}

	/** Keeps links that begin with number `first`. */
	async write(first: number, links: readonly Buffer[]): Promise<void> {
		if (links.length === 0) return;
		await this.#write(first, links).catch(() => undefined);
	}

	async #write(first: number, links: readonly Buffer[]): Promise<void> {
		await makeDirectory(this.#directory);
		await using file = await open(this.#path, constants.O_WRONLY | constants.O_CREAT, 0o640);
		await writeAt(file, first * digestSize, Buffer.concat(links));
	}

	async forget(): Promise<void> {
		await rm(this.#path, { force: true }).catch(() => undefined);
	}

	/** Removes all but the newest few; another connection may be about the same. */
	async prune(): Promise<void> {
		const names = await readdir(this.#directory).catch(() => []);
		const files = await Promise.all(
			names.map(async (name) => {
				const path = join(this.#directory, name);
				const found = await stat(path).catch(() => undefined);
				return { path, time: found?.mtimeMs ?? 0 };
			}),
		);
		for (const { path } of files.toSorted((a, b) => b.time - a.time).slice(keptChains)) {
			await rm(path, { force: true }).catch(() => undefined);
		}
	}
}
