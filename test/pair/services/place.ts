import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** Where a service runs, from its environment: see host.env. */
export const hostDirectory = process.env["PAIR_HOST_DIRECTORY"] ?? "";
export const home = join(hostDirectory, "zimbra");
export const databaseSocket = join(hostDirectory, "run/mysql.sock");
export const mailboxSocket = join(hostDirectory, "run/mailboxd.sock");

/**
 * What a test tells a command of this host to do wrong; read from control/<name>.json beside
 * zimbra_home, so that it holds whoever starts the command.
 */
export function control<T extends object>(name: string): Partial<T> {
	const path = join(hostDirectory, "control", `${name}.json`);
	return existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as Partial<T>) : {};
}

/** One line in log/mailbox.log, in the form of Zimbra's log4j layout. */
export function logMailbox(level: "INFO" | "WARN" | "ERROR", thread: string, text: string): void {
	const now = new Date();
	const local = new Date(now.getTime() - now.getTimezoneOffset() * 60_000).toISOString();
	const time = local.replace("T", " ").replace(".", ",").replace("Z", "");
	appendFileSync(
		join(home, "log/mailbox.log"),
		`${time} ${level.padEnd(5)} [${thread}] [] redolog - ${text}\n`,
	);
}

type Executed = {
	readonly transaction: string;
	readonly opcode: number;
	readonly mailboxId: number;
};

/** One line of executions.tsv, for tests to count what was carried out on this host's store. */
export function executionLine(by: string, what: Executed, result: string): string {
	const cells = [Date.now(), by, what.transaction, what.opcode, what.mailboxId, result];
	return `${cells.join("\t")}\n`;
}

/** For what failed or had been done. What succeeds is told by the database, in one step with its commit. */
export function journalExecution(by: string, what: Executed, result: string): void {
	journal(executionLine(by, what, result));
}

export function journal(line: string): void {
	appendFileSync(join(hostDirectory, "executions.tsv"), line);
}
