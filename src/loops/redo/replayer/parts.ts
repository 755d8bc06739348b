import type { LdapState } from "../../../formats/state.ts";
import type { Config } from "../../../services/config.ts";
import type { Logger } from "../../../services/log/logger.ts";
import { readPublished } from "../../../services/publish.ts";
import { readRole } from "../../../services/role.ts";
import { makeRun } from "../../../services/run.ts";
import type { Covered, ReplayerParts } from "./replayer.ts";

/** What a replayer needs of this server, whoever runs it: the loop, or `stop`. */
export function replayerParts(
	config: Config,
	log: Logger,
): Pick<ReplayerParts, "config" | "run" | "log" | "coverage"> {
	return {
		config,
		log,
		run: makeRun(config.settings),
		coverage: () => readCoverage(config),
	};
}

/**
 * Up to where in the live log the LDAP copy in use knows every account, by what the LDAP loop says.
 * Positions compare only within one timeline.
 */
async function readCoverage({ base }: Config): Promise<Covered | undefined> {
	const state = await readPublished<LdapState>(base.stateLdap, 1);
	// Where its record is damaged, nothing is known to be covered.
	const timeline = await readRole(base.role).then(
		(role) => role.timeline,
		() => undefined,
	);
	if (timeline === undefined) return undefined;
	if (state?.coverage?.timeline !== timeline) return undefined;
	return { ...state.coverage, saidAt: state.coverageAt?.monotonic };
}
