import type { LdapSource } from "../../loops/ldap-source/snapshot.ts";
import type { Config } from "../../services/config.ts";
import { makeLogger } from "../../services/log/logger.ts";
import { readRole } from "../../services/role.ts";

/** What the loops of the live side need, with a logger that writes to the log of what is served. */
export async function ldapSource(config: Config, signal: AbortSignal): Promise<LdapSource> {
	// Only live_sync.log is rotated by ourselves: many short processes write to this one.
	const logger = await makeLogger(config.base.served, { ...config.settings, log_rotate: "no" });
	const { timeline } = await readRole(config.base.role);
	// sshd's name for the connection, the same for each command on it: sshd(8).
	const client = process.env.SSH_CONNECTION ?? "";
	return { config, timeline, client, signal, log: logger.child({ program: "sync-commands" }) };
}
