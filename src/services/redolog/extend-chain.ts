import type { FileHandle } from "node:fs/promises";
import { chainStep, type DigestChain } from "../../formats/redolog/digest-chain.ts";
import { readAt } from "../files.ts";
import type { KeptLinks } from "./kept-links.ts";

/**
 * Takes a log's bytes into its digest chain, from where the chain stands up to `end` or the end of
 * the file. New links are kept as they are made, where `kept` is given: work that is interrupted is
 * not lost.
 */
export async function extendChain(
	file: FileHandle,
	chain: DigestChain,
	end: number,
	signal: AbortSignal,
	kept?: KeptLinks,
): Promise<DigestChain> {
	while (chain.offset < end) {
		signal.throwIfAborted();
		const before = chain.links.length;
		const bytes = await readAt(file, chain.offset, Math.min(chainStep, end - chain.offset));
		if (bytes.length === 0) break;
		chain.update(bytes);
		await kept?.write(before, chain.links.slice(before));
	}
	return chain;
}
