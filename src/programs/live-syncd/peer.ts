import { Refusal } from "../../errors.ts";
import { type Hello, parseHello } from "../../formats/protocol/hello.ts";
import {
	parseZimbraSettings,
	type ZimbraSettings,
} from "../../formats/protocol/zimbra-settings.ts";
import type { PeerConfig } from "../../services/peer-config.ts";
import { ask } from "../../services/ssh/connect.ts";

/** Asks the other server who it is; refuses one that is still the script of 2011. */
export async function askHello(config: PeerConfig, signal: AbortSignal): Promise<Hello> {
	const timeoutMs = config.settings.connect_timeout + config.settings.command_timeout;
	const answer = await ask(config, "hello", signal, timeoutMs);
	const hello = parseHello(answer.stdout);
	if (hello !== undefined) return hello;
	const said = (answer.stderr || answer.stdout).trim().split("\n")[0] ?? "";
	if (said.startsWith("sync-commands:")) throw new Error(`${config.remoteAddress} says: ${said}`);
	throw new Refusal(
		"old-agent",
		`${config.remoteAddress} does not know \`hello\`: it said ${said === "" ? "nothing" : `"${said}"`} and exited with ${answer.exitCode}. It still has the sync_commands script of 2011, or none`,
		`install live-syncd there too, and let the key's line in authorized_keys begin: restrict,command="${config.base.base}/sync-commands"`,
	);
}

/** What LDAP on the other server says of its installation. */
export async function askSettings(
	config: PeerConfig,
	signal: AbortSignal,
): Promise<ZimbraSettings> {
	const timeoutMs = config.settings.connect_timeout + config.settings.command_timeout;
	const answer = await ask(config, "settings", signal, timeoutMs);
	const settings = parseZimbraSettings(answer.stdout);
	if (settings === undefined) {
		throw new Error(`${config.remoteAddress} does not tell its settings: ${answer.stderr.trim()}`);
	}
	return settings;
}
