import type { MirrorRecord } from "./protocol/mirror-record.ts";

/** An archived redo log on the live server. */
export type ArchivedLog = {
	readonly name: string;
	readonly sequence: number;
	/** from its header; undefined where the file has none */
	readonly serverId: string | undefined;
	/** ms since it was archived */
	readonly age: number;
};

export type RetentionQuestion = {
	readonly archives: readonly ArchivedLog[];
	/** of every mirror that is known */
	readonly mirrors: readonly MirrorRecord[];
	/** ms: younger archives stay in any case */
	readonly retention: number;
	/** of this server's present history */
	readonly timeline: number;
};

export type RetentionPlan = {
	/** lowest sequence first */
	readonly remove: readonly ArchivedLog[];
	/** why archives that are old enough stay all the same, one sentence for each reason */
	readonly kept: readonly string[];
};

/**
 * Which archives may go: those older than the retention time that every known mirror has replayed;
 * with no known mirror the retention time alone. A mirror has replayed what is below the sequence that
 * it stands in, and only if it stands in this server's present history: after a failover both servers
 * have files of the same numbers.
 */
export function planPurge({
	archives,
	mirrors,
	retention,
	timeline,
}: RetentionQuestion): RetentionPlan {
	const kept = new Set<string>();
	const needs = (archive: ArchivedLog, mirror: MirrorRecord): boolean => {
		const reason = whyNeeded(archive, mirror, timeline);
		if (reason !== undefined) kept.add(reason);
		return reason !== undefined;
	};
	const remove = archives
		.filter(({ age }) => age > retention)
		// Each mirror is asked, so that each one that holds something is named.
		.filter((archive) => mirrors.filter((mirror) => needs(archive, mirror)).length === 0)
		.toSorted((a, b) => a.sequence - b.sequence || (a.name < b.name ? -1 : 1));
	return { remove, kept: [...kept] };
}

/** Why a mirror may still need an archive; undefined where it has replayed it. */
export function whyNeeded(
	archive: Pick<ArchivedLog, "name" | "sequence" | "serverId">,
	{ mirror, replayed }: Pick<MirrorRecord, "mirror" | "replayed">,
	timeline: number,
): string | undefined {
	if (replayed === null) return `mirror ${mirror} has not replayed anything yet`;
	if (replayed.timeline !== timeline) {
		return `mirror ${mirror} stands in timeline ${replayed.timeline}, this server in ${timeline}`;
	}
	if (archive.sequence >= replayed.sequence) {
		return `mirror ${mirror} has replayed only up to ${replayed.sequence}:${replayed.offset}`;
	}
	if (archive.serverId === replayed.serverId) return undefined;
	return `${archive.name} is not a log of server ${replayed.serverId}, which mirror ${mirror} follows`;
}
