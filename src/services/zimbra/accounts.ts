import { slapdIsHere } from "../ldap/slapd-here.ts";
import { describeResult } from "../run.ts";
import type { ServiceParts } from "./service.ts";

/**
 * Whether an account is in the local LDAP directory.
 * Throws where that could not be asked: "no" must never be a guess, mail is set aside by it.
 * Source of the text: zm-mailbox, com.zimbra.cs.account.AccountServiceException.
 */
export async function accountExists(
	{ run, config }: ServiceParts,
	accountId: string,
	signal: AbortSignal,
): Promise<boolean> {
	const { zmprov_command, command_timeout } = config.settings;
	const command = [...zmprov_command, "ga", accountId, "zimbraId"];
	const result = await run(command, { timeoutMs: command_timeout, signal });
	signal.throwIfAborted();
	if (result.ended === "by itself") {
		const isThere = result.exitCode === 0;
		const isAbsent = !isThere && /NO_SUCH_ACCOUNT/.test(result.stderr + result.stdout);
		// It may be another host's LDAP that says so, while ours is down.
		if ((isThere || isAbsent) && (await slapdIsHere(config)) !== false) return isThere;
	}
	throw new Error(
		`whether account ${accountId} is there is not known: ${describeResult(command, result)}`,
	);
}
