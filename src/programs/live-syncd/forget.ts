import { rm } from "node:fs/promises";
import { join } from "node:path";
import { Refusal } from "../../errors.ts";
import { canonicalAddress, isAddress } from "../../formats/address.ts";
import { duration, size } from "../../formats/mirror-report.ts";
import { isRecordOf } from "../../formats/protocol/mirror-record.ts";
import { formatPosition } from "../../formats/redolog/position.ts";
import type { Config } from "../../services/config.ts";
import { syncDirectory } from "../../services/files.ts";
import { recordNames } from "../../services/mirrors.ts";
import { answer } from "../../services/standard-output.ts";
import { knownMirrors } from "./known-mirrors.ts";

/** A mirror that was heard of within this time is there, though its stream may be cut just now. */
const presentMs = 10 * 60_000;

/** Drops what the live server knows of a mirror, so that nothing is kept for it any more. */
export async function forget(
	config: Config,
	address: string,
	{ anyway = false }: { anyway?: boolean },
): Promise<number> {
	const { mirrors: directory } = config.base;
	const names = (await recordNames(directory)).filter(
		(name) => isAddress(address) && isRecordOf(name, address),
	);
	if (names.length === 0) throw new Error(await explainUnknown(config, address));
	const mirror = canonicalAddress(address);
	const known = (await knownMirrors(config)).filter(
		(each) => !isAddress(each.mirror) || canonicalAddress(each.mirror) === mirror,
	);
	const present = known.find(
		({ streams, heardAgeMs = Number.POSITIVE_INFINITY }) => streams || heardAgeMs < presentMs,
	);
	if (present !== undefined && !anyway) {
		const how = present.streams
			? "its stream is open at this moment"
			: `it was heard of ${duration(present.heardAgeMs ?? 0)} ago`;
		throw new Refusal(
			"mirror-in-use",
			`mirror ${mirror} is there: ${how}. Without its record the logs that it still needs may be removed`,
			`if it is to be no mirror any more, first stop it there: live-syncd stop; if you are sure: live-syncd forget --anyway ${mirror}`,
		);
	}
	for (const name of names) await rm(join(directory, name), { force: true });
	await syncDirectory(directory);
	if (known.length === 0) await answer(`Forgot mirror ${mirror}.\n`);
	for (const { replayed, holds } of known) {
		const upTo =
			replayed === null ? "had replayed nothing" : `had replayed ${formatPosition(replayed)}`;
		await answer(
			`Forgot mirror ${mirror}: it ${upTo}; ${holds.files} archives, ${size(holds.bytes)}, are not kept for it any more.\n`,
		);
	}
	await answer(
		`Nothing was removed: the next purge does that. Another mirror asks for one; without one: ${join(config.base.base, "sync-commands")} purge\nIf this mirror connects again, it is known again from then on.\n`,
	);
	return 0;
}

async function explainUnknown(config: Config, address: string): Promise<string> {
	const known = (await recordNames(config.base.mirrors)).map((name) => name.replace(/\.json$/, ""));
	const list = known.length === 0 ? "this server knows none" : `known are ${known.join(", ")}`;
	return `no mirror ${address} is known here: ${list}`;
}
