import type { ReplayPlan } from "../../../formats/replay/plan.ts";
import { makeDatabase } from "../../../services/zimbra/database.ts";
import type { ReplayerParts, ReplayResult } from "./replayer.ts";

/**
 * An account with a mailbox of another id here: zmplayredo would map one to the other for this run only.
 * A mailbox id that is another account's here: what follows would go into that account's mailbox.
 */
export async function findConflict(
	parts: ReplayerParts,
	{ newMailboxes }: ReplayPlan,
): Promise<ReplayResult | undefined> {
	if (newMailboxes.length === 0) return undefined;
	const here = (await makeDatabase(parts).mailboxes(newMailboxes)) ?? [];
	const wanted = new Map(newMailboxes.map((each) => [each.accountId, each.mailboxId]));
	const owners = new Map(newMailboxes.map((each) => [each.mailboxId, each.accountId]));
	for (const { mailboxId, accountId } of here) {
		const [other, owner] = [wanted.get(accountId), owners.get(mailboxId)];
		const moved = other !== undefined && other !== mailboxId;
		if (!moved && (owner === undefined || owner === accountId)) continue;
		const there = moved ? `that account has mailbox ${other}` : `that mailbox is of ${owner}`;
		return {
			kind: "stopped",
			why: `mailbox id conflict: account ${accountId} has mailbox ${mailboxId} here, and on the live server ${there}; replay would put mail into the wrong mailbox`,
			hint: "nothing was executed, and the redo log is received all the same. Something but replay has made a mailbox here; the store must be copied anew: docs/runbooks.md, initial copy",
		};
	}
	return undefined;
}
