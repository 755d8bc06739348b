import { Refusal } from "../../../errors.ts";
import type { Logger } from "../../../services/log/logger.ts";
import { makeMailboxd } from "../../../services/zimbra/mailboxd.ts";
import {
	databaseService,
	ldapService,
	type ServiceParts,
} from "../../../services/zimbra/service.ts";

/**
 * Makes sure that zmplayredo finds what it needs: without the database it waits for ever, without LDAP
 * it skips operations.
 * Throws an Error that names the service and what to do.
 */
export async function startServices(
	parts: ServiceParts & { readonly log: Logger },
	signal: AbortSignal,
): Promise<void> {
	for (const service of [ldapService(parts), databaseService(parts)]) {
		const result = await service.start(signal);
		if (!result.ok) throw new Error(`${result.problem}; ${result.hint}`);
		if (result.changed) parts.log.info({ service: service.name }, "started a service for replay");
	}
}

/** What to throw where mailboxd runs: whoever started it may have made this server the live one. */
function mailboxdIsUp(home: string, how: string): Refusal {
	return new Refusal(
		"mailboxd-up",
		`mailboxd runs on this mirror (${how}): Zimbra was started here, and two servers may be live`,
		`nothing more is replayed or written. If this server is to stay a mirror: zmcontrol stop as the user of ${home}, then live-syncd stop, then docs/runbooks.md, divergence; if it is live now: leave it, and see that the other one is not`,
	);
}

/**
 * Throws a Refusal where mailboxd runs, by its processes only: the loop looks often, and zmplayredo
 * asks the script itself.
 */
export async function refuseBesideMailboxd(parts: ServiceParts): Promise<void> {
	const found = await makeMailboxd(parts).process();
	if (found !== undefined) throw mailboxdIsUp(parts.config.zimbra.home, `process ${found.pid}`);
}
