import {
	formatRedoSettings,
	readRedoAttributes,
	redoAttributes,
} from "../../formats/protocol/redo-settings.ts";
import { readIfThere } from "../../services/files.ts";
import { describeResult, makeRun } from "../../services/run.ts";
import type { Serve } from "./context.ts";
import { say } from "./output.ts";

/** Zimbra's redo log settings, from LDAP. It starts a JVM: `start` asks once, nobody asks often. */
export const serve: Serve<"settings"> = async (_, { config, signal }) => {
	const { command_timeout, zmprov_command } = config.settings;
	const server = await serverName(config.zimbra.localconfig);
	// A server inherits what it does not set itself from the global configuration.
	const question = server === undefined ? ["gacf"] : ["gs", server, ...redoAttributes];
	const command = [...zmprov_command, ...question];
	const result = await makeRun(config.settings)(command, { timeoutMs: command_timeout, signal });
	const settings = readRedoAttributes(result.stdout);
	if (settings.enabled === undefined && settings.deleteOnRollover === undefined) {
		throw new Error(`LDAP does not tell the redo log settings: ${describeResult(command, result)}`);
	}
	await say(formatRedoSettings(settings));
	return 0;
};

/** zimbra_server_hostname; the file is read directly because zmlocalconfig starts a JVM. */
async function serverName(localconfig: string): Promise<string | undefined> {
	const text = (await readIfThere(localconfig)) ?? "";
	return /<key\s+name="zimbra_server_hostname"\s*>\s*<value>([\w.-]+)<\/value>/.exec(text)?.[1];
}
