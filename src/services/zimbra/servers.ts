import { findStores, readServers, type Stores } from "../../formats/zimbra-servers.ts";
import type { Config } from "../config.ts";
import { readIfThere } from "../files.ts";
import { describeResult } from "../run.ts";
import type { ServiceParts } from "./service.ts";

/** zimbra_server_hostname; the file is read directly because zmlocalconfig starts a JVM. */
export async function serverName({ zimbra }: Config): Promise<string | undefined> {
	const text = (await readIfThere(zimbra.localconfig)) ?? "";
	return /<key\s+name="zimbra_server_hostname"\s*>\s*<value>([\w.-]+)<\/value>/.exec(text)?.[1];
}

/**
 * The servers of this installation, beside this one, that have a message store or a directory. It
 * starts a JVM: seconds. Throws where LDAP does not tell.
 */
export async function readStores(
	{ run, config }: ServiceParts,
	signal: AbortSignal,
): Promise<Stores> {
	const { zmprov_command, command_timeout } = config.settings;
	const command = [...zmprov_command, "gas", "-v"];
	const result = await run(command, { timeoutMs: command_timeout, signal });
	const servers = readServers(result.stdout);
	if (result.exitCode !== 0 || servers.length === 0) {
		throw new Error(
			`LDAP does not tell the servers of this installation: ${describeResult(command, { ...result, stdout: "" })}`,
		);
	}
	return findStores(servers, await serverName(config));
}
