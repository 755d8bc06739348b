import {
	type RedoSettings,
	readRedoAttributes,
	redoAttributes,
} from "../../formats/protocol/redo-settings.ts";
import { readIfThere } from "../files.ts";
import { describeResult } from "../run.ts";
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
	const server = await serverName(config.zimbra.localconfig);
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

/** zimbra_server_hostname; the file is read directly because zmlocalconfig starts a JVM. */
async function serverName(localconfig: string): Promise<string | undefined> {
	const text = (await readIfThere(localconfig)) ?? "";
	return /<key\s+name="zimbra_server_hostname"\s*>\s*<value>([\w.-]+)<\/value>/.exec(text)?.[1];
}
