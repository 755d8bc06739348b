import type { LdapSource } from "../../loops/ldap-source/snapshot.ts";
import type { Config } from "../../services/config.ts";
import { makeLogger } from "../../services/log/logger.ts";
import { readRole } from "../../services/role.ts";

/**
 * What the loops of the live side need, with a logger that writes to the log of what is served.
 * @param watch the name of the ldap_changes for which it works
 */
export async function ldapSource(
	config: Config,
	signal: AbortSignal,
	watch: string | undefined,
): Promise<LdapSource> {
	// Only live_sync.log is rotated by ourselves: many short processes write to this one.
	const logger = await makeLogger(config.base.served, { ...config.settings, log_rotate: "no" });
	const { timeline } = await readRole(config.base.role);
	// sshd's name for the connection, the same for each command on it (sshd(8)): a mirror of 2.0 asks for
	// its snapshot on the connection of its watch, and names none.
	const connection = process.env.SSH_CONNECTION ?? "";
	const owners: LdapSource["owners"] = watch === undefined ? [connection] : [watch, connection];
	return { config, timeline, owners, signal, log: logger.child({ program: "sync-commands" }) };
}
