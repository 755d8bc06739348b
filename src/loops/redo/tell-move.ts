import { canonicalAddress, isAddress } from "../../formats/address.ts";
import { readIfThere, writeDurably } from "../../services/files.ts";
import type { Logger } from "../../services/log/logger.ts";
import type { PeerConfig } from "../../services/peer-config.ts";
import type { Answer } from "../../services/ssh/connect.ts";

/**
 * Tells the live server that the mirror which it knows by another address is this one, so that it keeps
 * no archives for the old address. Asked until it has agreed; version 2.0.0 does not know the question.
 */
export async function tellMove(
	{ base, localAddress }: Pick<PeerConfig, "base" | "localAddress">,
	ask: (request: string) => Promise<Answer>,
	log: Logger,
): Promise<void> {
	const own = canonicalAddress(localAddress);
	const before = (await readIfThere(base.knownAs))?.trim();
	if (before === own) return;
	if (before !== undefined && isAddress(before)) {
		const { exitCode, stdout } = await ask(`moved ${before} ${own}`);
		if (exitCode !== 0 || stdout.trim() !== "moved") return;
		log.info({ before, own }, "the live server knows this mirror by its new address only");
	}
	await writeDurably(base.knownAs, `${own}\n`);
}
