/** `mysqladmin ping` and `mysql -e <statement>`, as far as anybody here uses them. */
import { join } from "node:path";
import { Database } from "../store/database.ts";
import { queryMailboxes } from "./mailbox-query.ts";
import { databaseSocket, home } from "./place.ts";

const [as, ...words] = process.argv.slice(2);
const say = (text: string) => process.stdout.write(`${text}\n`);
const refuse = (text: string): never => {
	process.stderr.write(`${text}\n`);
	process.exit(1);
};

const database = await Database.connect(databaseSocket).catch(() =>
	refuse(
		`ERROR 2002 (HY000): Can't connect to local MySQL server through socket '${databaseSocket}'`,
	),
);
if (as === "admin") {
	if (words.at(-1) !== "ping") refuse(`unknown command: ${words.join(" ")}`);
	await database.ping();
	say("mysqld is alive");
} else {
	const statement = (words[words.indexOf("-e") + 1] ?? "").trim().replace(/;$/, "");
	const bare = words.some((word) => /^-[A-Za-z]*N/.test(word) || word === "--skip-column-names");
	const flushEvery = /^SET GLOBAL innodb_flush_log_at_timeout *= *(\d+)$/i.exec(statement)?.[1];
	if (/^FLUSH (ENGINE )?LOGS$/i.test(statement)) await database.flush();
	else if (flushEvery !== undefined) await database.flushEvery(Number(flushEvery));
	else if (/^SELECT 1$/i.test(statement)) say(bare ? "1" : "1\n1");
	else if (/^SELECT path FROM (zimbra\.)?volume$/i.test(statement)) {
		for (const line of [...(bare ? [] : ["path"]), join(home, "store"), join(home, "index")])
			say(line);
	} else {
		const rows = await queryMailboxes(database, statement, !bare);
		if (rows === undefined)
			refuse(
				`ERROR 1064 (42000) at line 1: You have an error in your SQL syntax near '${statement}'`,
			);
		else if (rows.length > 0) say(rows.join("\n"));
	}
}
process.exit(0);
