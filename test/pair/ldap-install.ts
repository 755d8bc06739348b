import type { Host } from "./host.ts";
import type { LdapOptions } from "./install.ts";
import type { Account } from "./store/accounts.ts";

export function makeLdap(
	_host: Host,
	_options: LdapOptions,
	_content: {
		serverId: string;
		settings: Readonly<Record<string, string>>;
		accounts: readonly Account[];
	},
): void {
	throw new Error("not yet");
}
