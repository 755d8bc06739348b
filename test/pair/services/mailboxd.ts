/** The mail server of a simulated host: answers tests on a unix socket, logs and stores as Zimbra does. */
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { transactionName } from "../redo/record.ts";
import { RedoLog } from "../redo/redo-log.ts";
import { openDirectory } from "../store/accounts.ts";
import { Blobs } from "../store/blobs.ts";
import { Database } from "../store/database.ts";
import { AlreadyDone, Executor } from "../store/executor.ts";
import { answerLines, listenAt } from "./line-protocol.ts";
import { Mailboxes } from "./mailboxes.ts";
import {
	databaseSocket,
	executionLine,
	home,
	hostDirectory,
	journalExecution,
	logMailbox,
	mailboxSocket,
} from "./place.ts";

rmSync(mailboxSocket, { force: true });
const directory = openDirectory(home, hostDirectory);
const database = await connectDatabase();
const setting = async (name: string, otherwise: string) =>
	(await directory.setting(name)) ?? otherwise;
const blobs = new Blobs(home);
const executor = new Executor(database, directory, blobs);
const redoLog = new RedoLog({
	startedSecond: uniqueSecond(),
	directory: join(home, "redolog"),
	serverId: await directory.serverId(),
	rules: {
		softKilobytes: Number(await setting("zimbraRedoLogRolloverFileSizeKB", "102400")),
		minimumAgeMinutes: Number(await setting("zimbraRedoLogRolloverMinFileAge", "30")),
		hardKilobytes: Number(await setting("zimbraRedoLogRolloverHardMaxFileSizeKB", "1048576")),
		deleteOnRollover: (await setting("zimbraRedoLogDeleteOnRollover", "TRUE")) !== "FALSE",
	},
	lookbackSeconds: Number(await setting("zimbraRedoLogCrashRecoveryLookbackSec", "10")),
	flushDatabase: () => database.flush(),
});

const redone = await redoLog.start(async (record) => {
	const what = { ...record, transaction: transactionName(record.transaction) };
	try {
		await executor.execute(record, executionLine("recovery", what, "ok"));
	} catch (error) {
		const harmless = error instanceof AlreadyDone;
		journalExecution(
			"recovery",
			what,
			`${harmless ? "done" : "failed"}: ${(error as Error).message}`,
		);
		if (harmless) return;
		logMailbox("ERROR", "main", `Redo failed for [txn ${what.transaction} [${record.opcode}]]`);
		throw error;
	}
});
if (redone > 0) logMailbox("INFO", "main", `Redoing ${redone} uncommitted transactions`);

const mailboxes = new Mailboxes({ database, directory, blobs, executor, redoLog });
await mailboxes.load();
const server = createServer((socket) =>
	answerLines(socket, (request) => mailboxes.answer(request as never)),
);
listenAt(server, mailboxSocket);

process.on("SIGTERM", () => void stop());

/** A clean stop: RedoLogManager.stop. */
async function stop(): Promise<void> {
	server.close();
	rmSync(mailboxSocket, { force: true });
	await mailboxes.idle();
	await redoLog.stop();
	process.exit(0);
}

/**
 * Transaction ids are unique because mailboxd takes more than a second to start. Here it does not, so
 * both hosts of a pair remember the last second that one of them started in.
 */
function uniqueSecond(): number {
	const path = join(hostDirectory, "../last-start");
	const last = existsSync(path) ? Number(readFileSync(path, "utf8")) : 0;
	const second = Math.max(Math.floor(Date.now() / 1000), last + 1);
	writeFileSync(path, String(second));
	return second;
}

/** DbPool.waitForDatabase: it tries again for ever. */
async function connectDatabase(): Promise<Database> {
	for (;;) {
		const connected = await Database.connect(databaseSocket).catch(() => undefined);
		if (connected !== undefined) return connected;
		await sleep(500);
	}
}
