import { lstat } from "node:fs/promises";
import { join } from "node:path";
import { canonicalAddress, isAddress } from "../../formats/address.ts";
import { type MirrorFacts, mirrorWarning } from "../../formats/mirror-report.ts";
import { whyNeeded } from "../../formats/retention.ts";
import { isFollowing } from "../../formats/role.ts";
import type { Config } from "../../services/config.ts";
import { freeBytes } from "../../services/files.ts";
import { heardAge, readRecord, recordNames } from "../../services/mirrors.ts";
import { listArchive } from "../../services/redolog/open-log.ts";
import { readRole } from "../../services/role.ts";
import { livingSessions } from "../../services/sessions.ts";

/** The mirrors that this server keeps archives for, by address. A mirror keeps none for others. */
export async function knownMirrors(config: Config): Promise<MirrorFacts[]> {
	const { base, settings, zimbra } = config;
	const names = await recordNames(base.mirrors);
	if (names.length === 0) return [];
	const role = await readRole(base.role);
	if (isFollowing(role)) return [];
	const archives = await oldArchives(config);
	const disk = {
		freeBytes: await freeBytes(zimbra.redolog),
		floorBytes: settings.disk_floor,
	};
	const streams = streamingMirrors(config);
	const found: MirrorFacts[] = [];
	for (const name of names.toSorted()) {
		const record = await readRecord(join(base.mirrors, name));
		const mirror = record?.mirror ?? name.replace(/\.json$/, "");
		const replayed = record?.replayed ?? null;
		// Whose log an archive is stands in its header, and to open each would take long.
		const serverId = replayed?.serverId;
		const held = archives.filter(
			(archive) =>
				whyNeeded({ ...archive, serverId }, { mirror, replayed }, role.timeline) !== undefined,
		);
		const facts = {
			mirror,
			streams: streams.has(isAddress(mirror) ? canonicalAddress(mirror) : mirror),
			heardAgeMs: record && heardAge(record),
			replayed,
			holds: {
				files: held.length,
				bytes: held.reduce((sum, { bytes }) => sum + bytes, 0),
			},
		};
		found.push({ ...facts, warning: mirrorWarning(facts, disk) });
	}
	return found;
}

/** The mirrors whose stream is open at this moment. */
const streamingMirrors = (config: Config): ReadonlySet<string> =>
	new Set(
		livingSessions(config)
			.filter(({ verb }) => verb === "stream_from")
			.map(({ mirror }) => mirror),
	);

/** Those that a purge would remove, were there no mirror. */
async function oldArchives({ settings, zimbra }: Config) {
	const archives: { name: string; sequence: number; bytes: number }[] = [];
	for (const { name, sequence } of await listArchive(zimbra)) {
		const stat = await lstat(join(zimbra.archive, name)).catch(() => undefined);
		if (stat === undefined || Date.now() - stat.mtimeMs <= settings.retention) continue;
		archives.push({ name, sequence, bytes: stat.size });
	}
	return archives;
}
