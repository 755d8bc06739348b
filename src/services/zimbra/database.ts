import { join } from "node:path";
import { isAlive, type ProcessIdentity } from "../processes.ts";
import { databaseService, type ServiceParts } from "./service.ts";

/**
 * What is asked of Zimbra's tables. All answers may be undefined, "could not be asked": nothing may
 * depend on them that has no safe side without.
 * Source of the tables: zm-mailbox, store/src/db (zimbra.mailbox, zimbra.volume, mboxgroupN.mail_item).
 */
export type Database = {
	/** The server process; a later one with another identity has lost what the first had not written. */
	process(): Promise<ProcessIdentity | undefined>;
	/** Directories of the volumes, absolute. */
	volumes(): Promise<string[] | undefined>;
	/** The mailboxes here that have one of these ids, or belong to one of these accounts. */
	mailboxes(wanted: readonly MailboxOwner[]): Promise<MailboxOwner[] | undefined>;
	/** Which of these items of a mailbox are there. */
	existingItems(mailboxId: number, itemIds: readonly number[]): Promise<Set<number> | undefined>;
};

export type MailboxOwner = { readonly mailboxId: number; readonly accountId: string };

/** How many mailboxes one question names. */
const askedAtOnce = 200;

export function makeDatabase({ run, config }: ServiceParts): Database {
	const { home } = config.zimbra;
	const client = join(home, "bin/mysql");

	/** Rows of a question, as words; ids are numbers or checked by the callers, so nothing needs escaping. */
	const ask = async (sql: string): Promise<string[][] | undefined> => {
		const result = await run([client, "-N", "-B", "-e", sql], {
			timeoutMs: config.settings.command_timeout,
		});
		if (result.exitCode !== 0 || result.ended !== "by itself") return undefined;
		const lines = result.stdout.split("\n").filter((line) => line !== "");
		return lines.map((line) => line.split("\t"));
	};

	return {
		process: () => databaseService({ run, config }).process(),
		async volumes() {
			const rows = await ask("SELECT path FROM zimbra.volume");
			return rows?.map(([path = ""]) => (path.startsWith("/") ? path : join(home, path)));
		},
		async mailboxes(wanted) {
			const found: MailboxOwner[] = [];
			for (let i = 0; i < wanted.length; i += askedAtOnce) {
				const some = wanted.slice(i, i + askedAtOnce);
				const accounts = some.map(({ accountId }) => accountId).filter((id) => /^[\w-]+$/.test(id));
				const ids = some.map(({ mailboxId }) => mailboxId).filter(Number.isSafeInteger);
				const rows = await ask(
					`SELECT id, account_id FROM zimbra.mailbox WHERE account_id IN ('${accounts.join("','")}') OR id IN (${[0, ...ids].join(",")})`,
				);
				if (rows === undefined) return undefined;
				found.push(...rows.map(([id, accountId = ""]) => ({ mailboxId: Number(id), accountId })));
			}
			return found;
		},
		async existingItems(mailboxId, itemIds) {
			const ids = itemIds.filter(Number.isSafeInteger);
			if (ids.length === 0 || !Number.isSafeInteger(mailboxId)) return new Set();
			const group = await ask(`SELECT group_id FROM zimbra.mailbox WHERE id = ${mailboxId}`);
			const groupId = Number(group?.[0]?.[0]);
			if (!Number.isSafeInteger(groupId)) return undefined;
			const rows = await ask(
				`SELECT id FROM mboxgroup${groupId}.mail_item WHERE mailbox_id = ${mailboxId} AND id IN (${ids.join(",")})`,
			);
			return rows && new Set(rows.map(([id]) => Number(id)));
		},
	};
}

/**
 * Whether the database that ran before is the one that runs: one that died and came back has lost up
 * to a second of commits, and flushing the new one's log brings nothing back.
 */
export function sameDatabase(
	before: ProcessIdentity | undefined,
	after: ProcessIdentity | undefined,
): boolean {
	if (before === undefined) return true; // no pid file that we know: cannot be told
	return after !== undefined && after.startTime === before.startTime && isAlive(before);
}
