import { describe } from "../../errors.ts";
import { repairSwap } from "../../loops/ldap/swap.ts";
import type { Config } from "../../services/config.ts";
import { makeLogger } from "../../services/log/logger.ts";

/**
 * An LDAP loop that was killed in the middle of an exchange has left no LDAP directory where Zimbra
 * looks for it. Nobody else would mend that where the live server is dead, since `start` refuses then.
 */
export async function repairLdap(config: Config, program: "stop" | "kill"): Promise<void> {
	const log = (await makeLogger(config.base.log, config.settings)).child({ program });
	// Who holds the lock comes to an end by then, or is ended.
	const deadline = AbortSignal.timeout(config.settings.replay_timeout);
	await repairSwap(config, log, deadline).catch((error: unknown) => {
		process.stderr.write(`live-syncd: LDAP: ${describe(error)}\n`);
	});
}
