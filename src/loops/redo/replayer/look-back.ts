import { LogWalk } from "../../../formats/redolog/walker.ts";
import type { Config } from "../../../services/config.ts";
import { openPlainFile } from "../../../services/files.ts";
import { fileSource } from "../../../services/redolog/log-files.ts";
import { readRedoSettings } from "../../../services/zimbra/redo-settings.ts";
import type { ServiceParts } from "../../../services/zimbra/service.ts";

/**
 * zimbraRedoLogCrashRecoveryLookbackSec as shipped, and what Zimbra takes where it is not set.
 * Source: zm-mailbox, store/conf/attrs/zimbra-attrs.xml.
 */
export const shippedLookBackSeconds = 10;

/** A JVM on a busy machine; whoever waits for it may be at a failover. */
const answerMs = 20_000;

export type Lookback = {
	/** ms since the epoch, by the live server's clock: the newest commit record of redo.log */
	readonly newest: number;
	/** ms since the epoch, by this server's clock: from then on Zimbra executes nothing again */
	readonly endsAt: number;
};

/**
 * From when on Zimbra may be started here without executing again what is in
 * redo.log: its start-up recovery takes what was committed in the last seconds before that start for
 * not committed. The commit records bear the live server's time, the start has this server's.
 * Undefined where nothing is in the way.
 * Source: zm-mailbox, com.zimbra.cs.redolog.RedoPlayer.runCrashRecovery; measured: the start rewrites
 * the header before it looks at the file's time, so the window always ends at the start.
 * @param lookBackSeconds asked only where something was committed
 */
export async function lookbackOf(
	{ zimbra }: Config,
	lookBackSeconds: () => Promise<number> = async () => shippedLookBackSeconds,
): Promise<Lookback | undefined> {
	await using file = await openPlainFile(zimbra.currentLog);
	if (file === undefined) return undefined;
	let newest: number | undefined;
	for (const record of new LogWalk(fileSource(file.fd))) {
		if (record.kind === "commit") newest = Math.max(newest ?? 0, record.timestamp);
	}
	if (newest === undefined) return undefined;
	return { newest, endsAt: newest + (await lookBackSeconds()) * 1000 + 1 };
}

/**
 * How far back Zimbra will look when it is started here, by the LDAP that it will ask.
 * Throws where LDAP does not tell.
 */
export async function readLookBack(parts: ServiceParts): Promise<number> {
	const timeoutMs = Math.min(answerMs, parts.config.settings.command_timeout);
	const settings = await readRedoSettings(parts, new AbortController().signal, timeoutMs);
	return settings.crashRecoveryLookbackSeconds ?? shippedLookBackSeconds;
}
