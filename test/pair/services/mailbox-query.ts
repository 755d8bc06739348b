import type { Database } from "../store/database.ts";
import { type MailboxRow, mailboxTable } from "../store/mailbox-rows.ts";

const form = /^SELECT (?<columns>[\w, ]+) FROM (?:zimbra\.)?mailbox(?: WHERE (?<where>.+))?$/i;
const condition = /^(id|account_id) ?(?:= ?|IN ?\()([\w',-]*)\)?$/i;

/** `SELECT id, account_id FROM zimbra.mailbox WHERE …`: lines of cells parted by tabs; undefined for other statements. */
export async function queryMailboxes(
	database: Database,
	statement: string,
	header: boolean,
): Promise<string[] | undefined> {
	const { columns = "", where } = form.exec(statement)?.groups ?? {};
	const names = columns.split(",").map((name) => name.trim().toLowerCase());
	if (!names.every((name) => name === "id" || name === "account_id")) return undefined;
	const mailboxes = await database.scan<MailboxRow>(mailboxTable);
	const rows = mailboxes.map(([id, { accountId }]) => ({ id, account_id: accountId }));
	const conditions = where?.split(/ OR /i).map((each) => condition.exec(each));
	if (conditions?.includes(null)) return undefined;
	const matches = (row: { id: string; account_id: string }) =>
		conditions?.some((found) => {
			const [, column = "", list = ""] = found ?? [];
			const values = list.split(",").map((value) => value.replaceAll("'", ""));
			return values.includes(row[column.toLowerCase() as "id"]);
		}) ?? true;
	const found = rows
		.filter(matches)
		.sort((a, b) => Number(a.id) - Number(b.id))
		.map((row) => names.map((name) => row[name as "id"]).join("\t"));
	return header && found.length > 0 ? [names.join("\t"), ...found] : found;
}
