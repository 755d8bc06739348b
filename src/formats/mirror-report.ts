import { formatPosition, type Position } from "./redolog/position.ts";

/** What the live server knows of a mirror, as `status` measures it. */
export type MirrorFacts = {
	/** its address */
	readonly mirror: string;
	/** its stream is open at this moment */
	readonly streams: boolean;
	/** ms since it was last heard of; undefined where its record is damaged */
	readonly heardAgeMs: number | undefined;
	/** everything below is in its store; null where it has not said so yet */
	readonly replayed: Position | null;
	/** archives older than the retention time that are kept for it */
	readonly holds: { readonly files: number; readonly bytes: number };
	readonly warning?: string | undefined;
};

/** What the warnings go by. */
export type RedologDisk = {
	readonly freeBytes: number;
	/** disk_floor */
	readonly floorBytes: number;
};

/** A mirror that was away for so long may be gone for good; an outage or an update is shorter. */
export const longSilenceMs = 24 * 3600_000;
/** With less than so many times disk_floor the archives matter. */
const scarceFloors = 4;

/** What an admin has to know of a mirror that holds archives back. */
export function mirrorWarning(
	{ mirror, streams, heardAgeMs, holds }: Omit<MirrorFacts, "warning">,
	{ freeBytes, floorBytes }: RedologDisk,
): string | undefined {
	if (heardAgeMs === undefined) {
		return `the record of mirror ${mirror} is damaged, and all archives are kept until it connects`;
	}
	if (!streams && heardAgeMs > longSilenceMs) {
		return `mirror ${mirror} has not been heard of for ${duration(heardAgeMs)}, and every archive that it has not replayed is kept for it`;
	}
	if (holds.bytes > 0 && freeBytes < scarceFloors * floorBytes) {
		return `only ${size(freeBytes)} are free for redo logs, and ${size(holds.bytes)} are kept for mirror ${mirror}`;
	}
	return undefined;
}

/** For people; "" where no mirror is known. */
export function reportMirrors(mirrors: readonly MirrorFacts[] | { unknown: string }): string {
	if ("unknown" in mirrors) {
		return `\n${"mirrors".padEnd(9)} unknown\n\nwarning mirrors: what they have replayed is not known: ${mirrors.unknown}  [trouble]\n`;
	}
	const lines = mirrors.map(({ mirror, streams, heardAgeMs, replayed, holds }) => {
		const heard =
			heardAgeMs === undefined
				? "record damaged"
				: `${streams ? "streams" : "away"}, heard ${duration(heardAgeMs)} ago`;
		const upTo =
			replayed === null ? "nothing replayed yet" : `replayed ${formatPosition(replayed)}`;
		return `${"mirror".padEnd(9)} ${mirror}: ${heard}, ${upTo}, holds back ${holds.files} archives, ${size(holds.bytes)}`;
	});
	const warnings = mirrors.flatMap(({ mirror, warning }) =>
		warning === undefined
			? []
			: [
					`warning mirrors: ${warning}  [trouble]`,
					`  try: see why it is away; if it is no more: live-syncd forget ${mirror}`,
				],
	);
	return [lines, warnings]
		.filter((part) => part.length > 0)
		.map((part) => `\n${part.join("\n")}\n`)
		.join("");
}

export const size = (bytes: number): string =>
	`${(bytes / 2 ** 20).toFixed(bytes < 2 ** 20 * 10 ? 1 : 0)} MiB`;

export function duration(ms: number): string {
	const seconds = Math.round(ms / 1000);
	if (seconds < 120) return `${seconds} s`;
	if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
	return seconds < 48 * 3600
		? `${Math.round(seconds / 3600)} h`
		: `${Math.floor(seconds / 86_400)} days`;
}
