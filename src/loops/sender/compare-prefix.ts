import { chainStep, DigestChain, linksToTake } from "../../formats/redolog/digest-chain.ts";
import { headerSize } from "../../formats/redolog/header.ts";
import { readAt } from "../../services/files.ts";
import { extendChain } from "../../services/redolog/extend-chain.ts";
import type { KeptLinks } from "../../services/redolog/kept-links.ts";
import type { OpenLog } from "../../services/redolog/open-log.ts";

/** What the mirror says that it has of a log. */
export type MirrorPrefix = {
	readonly offset: number;
	readonly links: readonly Buffer[];
	readonly digest: Buffer;
};

export type Comparison =
	/** the chain stands at the mirror's offset */
	| { readonly agreed: true; readonly chain: DigestChain }
	| {
			readonly agreed: false;
			readonly from: number;
			readonly size: number;
			readonly bytes: Buffer;
	  };

/**
 * Compares the mirror's bytes of a log with ours, without having either side send them. The newest
 * link is compared first: with the links kept from before, that is one MiB to read, or two. New
 * links are kept as they are made, so that a link that breaks again and again still gets on.
 */
export async function comparePrefix(
	log: OpenLog,
	mirror: MirrorPrefix,
	kept: KeptLinks,
	signal: AbortSignal,
): Promise<Comparison> {
	const { size } = await log.file.stat();
	const end = Math.min(mirror.offset, size);
	const known = (await kept.read()).slice(0, linksToTake(end));
	const matches = (chain: DigestChain) =>
		mirror.offset <= size && chain.digest().equals(mirror.digest);

	const first = await extendChain(log.file, new DigestChain(known), end, signal, kept);
	if (matches(first)) return { agreed: true, chain: first };
	// What was kept may be of bytes that have been cut since.
	await kept.forget();
	const chain =
		known.length === 0 ? first : await extendChain(log.file, new DigestChain(), end, signal, kept);
	if (matches(chain)) return { agreed: true, chain };

	const whole = chain.links.findIndex((link, i) => mirror.links[i]?.equals(link) !== true);
	const from = headerSize + (whole < 0 ? chain.links.length : whole) * chainStep;
	const bytes = await readAt(log.file, from, Math.min(chainStep, Math.max(0, size - from)));
	return { agreed: false, from, size, bytes };
}
