import type { Config } from "../config.ts";
import { ownProcesses } from "../process-table.ts";
import { killAll, type ProcessIdentity } from "../processes.ts";
import type { Run } from "../run.ts";
import { possibleCheckDirectories } from "./places.ts";

/**
 * What a round of LDAP runs, a pull and the tools that check a copy, leads process groups of its own
 * and outlives a loop that is killed. All of it carries the installation's name in its environment, so
 * that it is found without a record. Nothing that starts a service may run so: slapd would carry it too.
 */
export const forRound =
	(config: Config, run: Run): Run =>
	(command, options) =>
		run(command, { ...options, env: { ...options.env, [name]: config.base.base } });

const name = "LIVE_SYNC_LDAP_ROUND";

/**
 * Kills what is left of a round, and gives what there was. Call it only while no LDAP loop works.
 * Throws where a process does not end.
 */
export const endRound = (config: Config): Promise<ProcessIdentity[]> =>
	killAll("of an LDAP round", () => roundProcesses(config));

async function roundProcesses(config: Config): Promise<ProcessIdentity[]> {
	const variable = `${name}=${config.base.base}`;
	// slapcat is slapd by another name, and Zimbra gives that file a capability: then the kernel hides
	// its environment from its own user, but not its words. Source: proc(5), ptrace access mode.
	const directories = await possibleCheckDirectories(config);
	return [
		...ownProcesses("patient", ({ words, environment }) => {
			const checks = words.some((word) => directories.includes(word));
			return checks || environment().includes(variable);
		}),
	];
}
