import assert from "node:assert/strict";
import { test } from "node:test";
import { LogReading, showsWork } from "../../../src/formats/replay/mailbox-log.ts";

const read = (...lines: string[]) => {
	const reading = new LogReading();
	for (const line of lines) reading.line(line);
	return reading.findings;
};
const prefix = "2026-11-23 14:30:55,706";

test("a failed operation of a player thread is named by transaction, operation and mailbox", () => {
	const line = `${prefix} ERROR [RedoPlayer-3] [] redolog - Unable to execute redo op: txn 1795443907.12 [CopyItem] ver=1.42, tstamp=1795443907000, change=7, mailbox=3, type=5, destFolder=2`;
	const { failed } = read(line, "\tat com.zimbra.cs.mailbox.Mailbox.copy(Mailbox.java:1)");
	assert.deepEqual(
		failed.map(({ transaction, operation, mailboxId }) => ({ transaction, operation, mailboxId })),
		[{ transaction: "1795443907.12", operation: "CopyItem", mailboxId: 3 }],
	);
});

test("a failed operation of the main thread may have no name, and counts all the same", () => {
	const { failed } = read(
		`${prefix} WARN  [main] [] redolog - Ignoring error during redo log replay: Missing link source blob`,
		`${prefix} WARN  [main] [] redolog - Ignoring error during redo log replay: Account a-1 does not exist (txn 17.2 [CreateMailbox] ver=1.42, tstamp=1, mailbox=9, account=a-1)`,
	);
	assert.deepEqual(
		failed.map((each) => each.transaction),
		[undefined, "17.2"],
	);
});

for (const text of [
	"found mismatched mailboxId 4 expected 3",
	"mailbox conflict, mapping old ID 3 to 4",
	"Unable to execute redo op: txn 1.2 [CreateMailbox]: Mailbox ID for account a changed unexpectedly to 4; expected 3",
]) {
	test(`a mailbox id conflict is told from a failure: ${text.slice(0, 40)}`, () => {
		const findings = read(`${prefix} WARN  [main] [] redolog - ${text}`);
		assert.equal(findings.conflicts.length, 1);
		assert.equal(findings.failed.length, 0);
	});
}

test("the rest of a file that was dropped is told from a failure", () => {
	const findings = read(
		`${prefix} WARN  [main] [] redolog - Ignoring error and moving on: Invalid redo operation code 99`,
		`${prefix} WARN  [main] [] redolog - There were 17 bytes of junk data at the end of /x/redo.log.`,
	);
	assert.deepEqual([findings.dropped.length, findings.failed.length], [2, 0]);
});

test("waiting for the database is no progress, whatever it logs", () => {
	const waiting = `${prefix} WARN  [main] [] misc - Could not establish a connection to the database.  Retrying in 5 seconds.\njava.sql.SQLException: refused\n\tat x.Y.z(Y.java:1)\n`;
	assert.equal(showsWork(waiting), false);
	assert.equal(showsWork(`${waiting}${prefix} INFO  [main] [] redolog - anything\n`), true);
});
