/**
 * The database of a simulated host. Holds tables of JSON values in memory and answers on a unix
 * socket, one JSON line for each. A commit is durable about a second later, at a flush, or at a clean
 * stop, as with innodb_flush_log_at_trx_commit=0, which Zimbra sets: kill -9 loses the last second.
 */
import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { readTables, type Tables, type Write } from "../store/tables.ts";
import { answerLines, listenAt } from "./line-protocol.ts";
import { journal } from "./place.ts";

const [directory = "", socketPath = ""] = process.argv.slice(2);
const logPath = join(directory, "ib_logfile");
const tables: Tables = readTables(directory);
let log = openSync(logPath, "a");
let unwritten: Write[][] = [];

type Request =
	| { get: [string, string] }
	| { scan: string }
	| { commit: Write[]; journal: string }
	| { tables: string }
	| { flush: true }
	/** seconds: innodb_flush_log_at_timeout */
	| { flushEvery: number }
	| { ping: true };

function answer(request: Request): unknown {
	if ("get" in request) return tables.get(request.get[0])?.get(request.get[1]) ?? null;
	if ("scan" in request) return [...(tables.get(request.scan) ?? [])];
	if ("tables" in request) return [...tables.keys()].filter((n) => n.startsWith(request.tables));
	if ("commit" in request) {
		apply(request.commit);
		unwritten.push(request.commit);
		if (request.journal !== "") journal(request.journal); // whoever dies, what is done is told
	}
	if ("flush" in request) flush();
	if ("flushEvery" in request) {
		clearInterval(flushing);
		flushing = setInterval(flush, 1000 * request.flushEvery);
	}
	return true;
}

function apply(writes: Write[]): void {
	for (const [table, key, value] of writes) {
		const rows = tables.get(table) ?? new Map<string, unknown>();
		tables.set(table, rows);
		if (value === null) rows.delete(key);
		else rows.set(key, value);
	}
}

function flush(): void {
	if (unwritten.length === 0) return;
	writeSync(log, unwritten.map((each) => `${JSON.stringify(each)}\n`).join(""));
	fsyncSync(log);
	unwritten = [];
}

/** A clean stop leaves one snapshot, so that logs do not grow over many starts. */
function stop(): void {
	flush();
	const snapshot = join(directory, "ibdata");
	const fd = openSync(`${snapshot}.new`, "w");
	for (const [table, rows] of tables)
		for (const [key, value] of rows) writeSync(fd, `${JSON.stringify([[table, key, value]])}\n`);
	fsyncSync(fd);
	closeSync(fd);
	renameSync(`${snapshot}.new`, snapshot);
	closeSync(log);
	log = openSync(logPath, "w");
	rmSync(socketPath, { force: true });
	process.exit(0);
}

let flushing = setInterval(flush, 1000);
process.on("SIGTERM", stop);
listenAt(
	createServer((socket) => answerLines(socket, async (request) => answer(request as Request))),
	socketPath,
);
