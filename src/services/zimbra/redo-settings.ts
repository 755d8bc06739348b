import {
	type RedoSettings,
	readRedoAttributes,
	redoAttributes,
} from "../../formats/protocol/zimbra-settings.ts";
import { describeResult } from "../run.ts";
import { serverName } from "./servers.ts";
import type { ServiceParts } from "./service.ts";

/**
 * Zimbra's redo log settings for this server, from its LDAP. It starts a JVM: seconds.
 * Throws where LDAP does not tell.
 */
export async function readRedoSettings(
	{ run, config }: ServiceParts,
	signal: AbortSignal,
	timeoutMs = config.settings.command_timeout,
): Promise<RedoSettings> {
	const server = await serverName(config);
	// A server inherits what it does not set itself from the global configuration.
	const question = server === undefined ? ["gacf"] : ["gs", server, ...redoAttributes];
	const command = [...config.settings.zmprov_command, ...question];
	const result = await run(command, { timeoutMs, signal });
	const settings = readRedoAttributes(result.stdout);
	if (settings.enabled === undefined && settings.deleteOnRollover === undefined) {
		throw new Error(`LDAP does not tell the redo log settings: ${describeResult(command, result)}`);
	}
	return settings;
}
