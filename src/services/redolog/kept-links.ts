import { constants, open, readdir, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { hasCode } from "../../errors.ts";
import { digestSize } from "../../formats/redolog/digest-chain.ts";
import { makeDirectory, writeAt } from "../files.ts";

/**
 * The links of the digest chains of a few logs, kept so that a reconnect need not hash gigabytes.
 * They are a hint: a comparison that fails with them is made again without.
 */
export class KeptLinks {
	readonly #directory: string;
	readonly #path: string;

	/** @param name tells the log: sequence and create time */
	constructor(directory: string, name: string) {
		this.#directory = directory;
		this.#path = join(directory, `${name}.chain`);
	}

	async read(): Promise<Buffer[]> {
		try {
			const bytes = await readFile(this.#path);
			const whole = Math.floor(bytes.length / digestSize);
			return Array.from({ length: whole }, (_, i) =>
				bytes.subarray(i * digestSize, (i + 1) * digestSize),
			);
		} catch (error) {
			if (hasCode(error, "ENOENT")) return [];
			throw error;
		}
	}

	/** Keeps links that begin with number `first`. */
	async write(first: number, links: readonly Buffer[]): Promise<void> {
		if (links.length === 0) return;
		await makeDirectory(this.#directory);
		await using file = await open(this.#path, constants.O_WRONLY | constants.O_CREAT, 0o640);
		await writeAt(file, first * digestSize, Buffer.concat(links));
	}

	async forget(): Promise<void> {
		await rm(this.#path, { force: true });
	}

	/** Removes all but the newest few. */
	async prune(keep: number): Promise<void> {
		const names = await readdir(this.#directory).catch(() => []);
		const files = await Promise.all(
			names.map(async (name) => {
				const path = join(this.#directory, name);
				return { path, time: (await stat(path)).mtimeMs };
			}),
		);
		for (const { path } of files.toSorted((a, b) => b.time - a.time).slice(keep)) {
			await rm(path, { force: true });
		}
	}
}
