import { join } from "node:path";
import { describe } from "../../errors.ts";
import { useWaiting } from "../../loops/ldap/round.ts";
import { repairSwap } from "../../loops/ldap/swap.ts";
import { deadline } from "../../services/clock.ts";
import type { Config } from "../../services/config.ts";
import { isThere } from "../../services/files.ts";
import type { Logger } from "../../services/log/logger.ts";
import { refuseOtherBase } from "../../services/one-base.ts";

/**
 * An LDAP loop that was killed in the middle of an exchange has left no LDAP directory where Zimbra
 * looks for it. Nobody else would mend that where the live server is dead, since `start` refuses then.
 * Throws where there is still none; what else is wrong with LDAP is told, and keeps nothing from its work.
 */
export async function repairLdap(config: Config, log: Logger): Promise<void> {
	// Its lock is another one than ours, and it may be exchanging LDAP just now.
	await refuseOtherBase(config);
	const { base, settings } = config;
	const late = deadline(
		settings.replay_timeout,
		`an exchange of ${config.zimbra.ldap} was cut short and is not repaired: ${base.lock} was held by another process for all of replay_timeout; live-syncd stop tries again`,
	);
	await repairSwap(config, log, late).catch(async (error: unknown) => {
		if (!(await isThere(join(config.zimbra.ldap, "config")))) throw error;
		process.stderr.write(`live-syncd: LDAP: ${describe(error)}\n`);
	});
}

/** An LDAP loop that was killed may have left a whole copy: operations that were received may need it. */
export async function useWaitingCopy(config: Config, log: Logger): Promise<void> {
	const late = deadline(
		config.settings.replay_timeout,
		`${config.base.lock} was held by another process for all of replay_timeout`,
	);
	await useWaiting(config, log, late).catch((error: unknown) => {
		process.stderr.write(
			`live-syncd: LDAP: the copy that waits in ${config.base.ldap} is not used: ${describe(error)}\n`,
		);
	});
}
