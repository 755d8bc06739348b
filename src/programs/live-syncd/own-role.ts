import { describe } from "../../errors.ts";
import { type Role, unknownRole } from "../../formats/role.ts";
import { foreignLog } from "../../loops/redo/receiver/local-log.ts";
import type { Config } from "../../services/config.ts";
import { readSavedLogs } from "../../services/redolog/saved-logs.ts";
import { readRole } from "../../services/role.ts";
import { makeRun } from "../../services/run.ts";
import { makeMailboxd } from "../../services/zimbra/mailboxd.ts";

/**
 * At a failover nothing may hang on a file that says what this server was: where it cannot be read, all
 * else here is gone by, as where it was lost. The file itself is left alone.
 */
export async function roleHere({ base }: Config, tell?: (problem: string) => void): Promise<Role> {
	try {
		return await readRole(base.role);
	} catch (error) {
		tell?.(describe(error));
		return unknownRole;
	}
}

/** Whether Zimbra has been started here since this server received something. */
export async function whetherZimbraRan(config: Config): Promise<"not" | "ran" | "runs"> {
	if ((await mailboxdProcess(config)) !== undefined) return "runs";
	if ((await foreignLog(config)) !== undefined) return "ran";
	// They are saved only where a mailboxd was seen here; one that was killed may leave no other trace.
	return (await readSavedLogs(config)) === undefined ? "not" : "ran";
}

export const mailboxdProcess = (config: Config) =>
	makeMailboxd({ run: makeRun(config.settings), config }).process();
