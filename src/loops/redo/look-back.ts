import { LogWalk } from "../../formats/redolog/walker.ts";
import type { Config } from "../../services/config.ts";
import { openIfThere } from "../../services/files.ts";
import { fileSource } from "../../services/redolog/log-files.ts";

/** zimbraRedoLogCrashRecoveryLookbackSec as shipped; source: zm-mailbox, store/conf/attrs/zimbra-attrs.xml. */
const shippedLookBackSeconds = 10;

/**
 * From when on (ms since the epoch) Zimbra may be started here without executing again what is in
 * redo.log: its start-up recovery takes what was committed in the last seconds before that start for
 * not committed. The commit records bear the live server's time, the start has this server's.
 * Undefined where nothing is in the way.
 * Source: zm-mailbox, com.zimbra.cs.redolog.RedoPlayer.runCrashRecovery; measured: the start rewrites
 * the header before it looks at the file's time, so the window always ends at the start.
 */
export async function lookbackEndsAt(
	{ zimbra }: Config,
	lookBackSeconds = shippedLookBackSeconds,
): Promise<number | undefined> {
	await using file = await openIfThere(zimbra.currentLog, "r");
	if (file === undefined) return undefined;
	let newest: number | undefined;
	for (const record of new LogWalk(fileSource(file.fd))) {
		if (record.kind === "commit") newest = Math.max(newest ?? 0, record.timestamp);
	}
	return newest === undefined ? undefined : newest + lookBackSeconds * 1000 + 1;
}
