import { lstat, rm } from "node:fs/promises";
import { join } from "node:path";
import { type ArchivedLog, planPurge } from "../../formats/retention.ts";
import { liveSyncdPath } from "../../services/manual.ts";
import { readMirrors } from "../../services/mirrors.ts";
import type { ZimbraPaths } from "../../services/paths.ts";
import { listArchive, openLog } from "../../services/redolog/open-log.ts";
import { readRole } from "../../services/role.ts";
import type { Serve } from "./context.ts";
import { complain } from "./output.ts";

/**
 * Removes redo log archives that nobody needs any more. The script of 2011 removed what was a day old;
 * here every known mirror must have replayed it too, and it must be older than the retention time.
 * Throws, with nothing removed, where it cannot be known what a mirror needs.
 */
export const serve: Serve<"purge"> = async (_, { config, log }) => {
	const { base, settings, zimbra } = config;
	const mirrors = await readMirrors(base.mirrors);
	const { timeline } = await readRole(base.role);
	const archives = await readArchives(zimbra);
	const plan = planPurge({ archives, mirrors, retention: settings.retention, timeline });
	for (const { name } of plan.remove) {
		const path = join(zimbra.archive, name);
		await rm(path);
		log("info", "removed", { file: path });
	}
	for (const reason of plan.kept) {
		const hint = `if that mirror is no more, on the server that keeps them: ${liveSyncdPath()} forget ADDRESS`;
		complain(`sync-commands: archives are kept: ${reason}; ${hint}`);
		log("warn", "archives are kept", { reason });
	}
	return 0;
};

async function readArchives(zimbra: ZimbraPaths): Promise<ArchivedLog[]> {
	const found: ArchivedLog[] = [];
	for (const { name, sequence } of await listArchive(zimbra)) {
		const path = join(zimbra.archive, name);
		const stat = await lstat(path).catch(() => undefined);
		if (stat?.isFile() !== true) continue;
		await using file = await openLog(path);
		const serverId = file?.header.serverId;
		// The header is rewritten when a log is closed, so this is when it was archived.
		found.push({ name, sequence, serverId, age: Date.now() - stat.mtimeMs });
	}
	return found;
}
