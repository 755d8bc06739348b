import type { Database } from "../store/database.ts";
import { type MailboxRow, mailboxTable } from "../store/mailbox-rows.ts";

const form =
	/^SELECT (?<columns>[\w, ]+) FROM (?:zimbra\.)?mailbox(?: WHERE (?<column>id|account_id) ?= ?'?(?<value>[\w-]+)'?)?$/i;

/** `SELECT id, account_id FROM zimbra.mailbox WHERE …`: lines of cells parted by tabs; undefined for other statements. */
export async function queryMailboxes(
	database: Database,
	statement: string,
	header: boolean,
): Promise<string[] | undefined> {
	const { columns = "", column, value } = form.exec(statement)?.groups ?? {};
	const names = columns.split(",").map((name) => name.trim().toLowerCase());
	if (!names.every((name) => name === "id" || name === "account_id")) return undefined;
	const mailboxes = await database.scan<MailboxRow>(mailboxTable);
	const rows = mailboxes.map(([id, { accountId }]) => ({ id, account_id: accountId }));
	const found = rows
		.filter((row) => column === undefined || row[column.toLowerCase() as "id"] === value)
		.sort((a, b) => Number(a.id) - Number(b.id))
		.map((row) => names.map((name) => row[name as "id"]).join("\t"));
	return header && found.length > 0 ? [names.join("\t"), ...found] : found;
}
