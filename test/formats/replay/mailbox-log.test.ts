import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { LogReading, showsWork } from "../../../src/formats/replay/mailbox-log.ts";
import { samplesDirectory } from "../redolog/samples.ts";

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

const failedIds = (...lines: string[]) => read(...lines).failed.map((each) => each.transaction);
const mt = (id: string, thread = 5) =>
	`${prefix} ERROR [RedoPlayer-${thread}] [] redolog - Unable to execute redo op: txn ${id} [DismissCalendarItemAlarm] ver=1.42, tstamp=1795727588180, change=15, mailbox=5, id=261`;
const main = (message: string) =>
	`${prefix} WARN  [main] [] redolog - Ignoring error during redo log replay: ${message}`;
const at = (...places: string[]) => places.map((place) => `\tat com.zimbra.cs.${place}`);
const cancel = "mailbox.ScheduledTaskManager.cancel(ScheduledTaskManager.java:170)";
const schedule = "mailbox.ScheduledTaskManager.schedule(ScheduledTaskManager.java:120)";
const reminders =
	"mailbox.alerts.CalItemReminderService.cancelExistingReminders(CalItemReminderService.java:118)";
const notify = "mailbox.alerts.CalItemReminderService.notify(CalItemReminderService.java:75)";
const commit = "mailbox.Mailbox.commitCache(Mailbox.java:10363)";
const npe = "java.lang.NullPointerException";
const trace = [npe, ...at(cancel, cancel, reminders, reminders, notify, commit)];

test("a dismissed alarm that Zimbra's own player executed and logged as failed counts as executed", () => {
	const text = readFileSync(join(samplesDirectory, "alarm-mailbox-log.txt"), "utf8");
	assert.deepEqual(read(...text.split("\n")).failed, []);
});

for (const [title, lines] of Object.entries({
	"in one thread": [main("null"), ...trace],
	"in one thread, with the message of a newer JVM": [
		main('Cannot invoke "TaskScheduler.cancel(Object, boolean)" because "sScheduler" is null'),
		`${npe}: Cannot invoke "TaskScheduler.cancel(Object, boolean)" because "sScheduler" is null`,
		...trace.slice(1),
	],
	"of a snoozed alarm, which is scheduled": [
		mt("17.2"),
		npe,
		...at(schedule, schedule, reminders, notify, commit),
	],
	"with the class loader before each class": [
		mt("17.2"),
		...trace.map((line) => line.replace("com.zimbra", "app//com.zimbra")),
	],
	"with the text of an appointment over several lines before the exception": [
		mt("17.2"),
		"BEGIN:VEVENT",
		"",
		"at home, as ever",
		...trace,
	],
	"with what other threads log behind it": [mt("17.2"), ...trace, `${prefix} INFO [main] [] x - y`],
})) {
	test(`an operation whose reminder has no scheduler in zmplayredo counts as executed: ${title}`, () => {
		assert.deepEqual(read(...lines).failed, []);
	});
}

for (const [title, lines] of Object.entries({
	"without a stack trace": [mt("17.2"), npe],
	"with the frames in another's cause": [
		mt("17.2"),
		"com.zimbra.common.service.ServiceException: system failure: no database",
		...at(commit),
		`Caused by: ${npe}`,
		...trace.slice(1),
	],
	"with a cause of its own": [
		mt("17.2"),
		...trace,
		"Caused by: java.sql.SQLException: lock wait timeout",
		...at(notify),
	],
	"with another exception suppressed": [
		mt("17.2"),
		...trace,
		"\tSuppressed: java.sql.SQLException: connection is closed",
	],
	"of another kind with the same frames": [
		mt("17.2"),
		"java.lang.IllegalStateException: Timer already cancelled.",
		...trace.slice(1),
	],
	"thrown elsewhere below the notification": [
		mt("17.2"),
		npe,
		...at("mailbox.CalendarItem.getAlarmData(CalendarItem.java:9)", cancel, reminders, notify),
	],
	"thrown by the scheduler for somebody else": [
		mt("17.2"),
		npe,
		...at(cancel, "mailbox.PurgeTask.run(PurgeTask.java:1)", notify),
	],
	"thrown by the scheduler, the trace cut before the notification": [
		mt("17.2"),
		npe,
		...at(cancel, reminders),
	],
	"whose text only looks like that trace": [
		mt("17.2"),
		...trace,
		"com.zimbra.cs.mailbox.MailServiceException: no such item: 261",
		...at(commit),
	],
	"with its trace after another event": [mt("17.2"), `${prefix} INFO  [main] [] x - y`, ...trace],
})) {
	test(`a failure that only resembles the missing scheduler stays a failure: ${title}`, () => {
		assert.deepEqual(failedIds(...lines), ["17.2"]);
	});
}

test("of many failures each is judged by its own stack trace", () => {
	const other = ["com.zimbra.cs.mailbox.MailServiceException: no such item: 9", ...at(commit)];
	const ids = failedIds(
		mt("17.1", 1),
		...trace,
		mt("17.2", 2),
		...other,
		mt("17.3", 3),
		...trace,
		mt("17.4", 4),
	);
	assert.deepEqual(ids, ["17.2", "17.4"]);
});

test("the exception of a failure is told with it", () => {
	const { failed } = read(
		mt("17.2"),
		"java.io.IOException: No space left on device",
		...at(commit),
	);
	assert.match(failed[0]?.text ?? "", /id=261: java\.io\.IOException: No space left on device$/);
});
