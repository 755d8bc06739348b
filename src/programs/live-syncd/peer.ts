import type { Refusal } from "../../errors.ts";
import { explainNoAnswer, findAnswer, noisyShell } from "../../formats/protocol/answers.ts";
import { type Hello, parseHello } from "../../formats/protocol/hello.ts";
import {
	parseZimbraSettings,
	type ZimbraSettings,
} from "../../formats/protocol/zimbra-settings.ts";
import type { PeerConfig } from "../../services/peer-config.ts";
import { ask, askedOf } from "../../services/ssh/connect.ts";

/** What the other server says of itself, and what is wrong with the shell that answers for it. */
export type Peer = Hello & { readonly shell: Refusal | undefined };

/** Asks the other server who it is; refuses one that is still the script of 2011. */
export async function askHello(config: PeerConfig, signal: AbortSignal): Promise<Peer> {
	const timeoutMs = config.settings.connect_timeout + config.settings.command_timeout;
	const answer = await ask(config, "hello", signal, timeoutMs);
	const hello = parseHello(answer.stdout);
	const noise = findAnswer(answer.stdout, "hello")?.noise ?? "";
	if (hello === undefined) throw explainNoAnswer(askedOf(config), "hello", answer);
	return { ...hello, shell: noise === "" ? undefined : noisyShell(askedOf(config), noise) };
}

/** What LDAP on the other server says of its installation. */
export async function askSettings(
	config: PeerConfig,
	signal: AbortSignal,
): Promise<ZimbraSettings> {
	const timeoutMs = config.settings.connect_timeout + config.settings.command_timeout;
	const answer = await ask(config, "settings", signal, timeoutMs);
	const settings = parseZimbraSettings(answer.stdout);
	if (settings === undefined) throw explainNoAnswer(askedOf(config), "settings", answer);
	return settings;
}
