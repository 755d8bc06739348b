import assert from "node:assert/strict";
import { appendFile, rename, rm, stat, truncate, writeFile } from "node:fs/promises";
import { test } from "node:test";
import { markMailboxLog, readMailboxLog } from "../../../src/services/zimbra/mailbox-log.ts";
import { scriptedHost } from "./host.ts";

const failure = (txn: string) =>
	`2026-11-23 14:30:55,706 ERROR [RedoPlayer-3] [] redolog - Unable to execute redo op: txn ${txn} [CopyItem] ver=1.42, mailbox=3\n`;

async function failuresSince(
	before: string | undefined,
	meanwhile: (log: string) => Promise<void>,
): Promise<(string | undefined)[] | undefined> {
	await using host = await scriptedHost();
	const log = host.config.zimbra.mailboxLog;
	if (before !== undefined) await writeFile(log, before);
	const mark = await markMailboxLog(log);
	await meanwhile(log);
	return (await readMailboxLog(log, mark))?.failed.map(({ transaction }) => transaction);
}

test("only what came after the start of the run counts", async () => {
	const found = await failuresSince(failure("1.1"), (log) => appendFile(log, failure("1.2")));
	assert.deepEqual(found, ["1.2"]);
});

test("failures before, at and after a rotation are all read", async () => {
	const found = await failuresSince(failure("1.1"), async (log) => {
		await appendFile(log, failure("1.2"));
		await rename(log, `${log}.2026-11-23`);
		await appendFile(log, failure("1.3"));
		await rename(log, `${log}.2026-11-24`);
		await appendFile(log, failure("1.4"));
	});
	assert.deepEqual(found, ["1.2", "1.3", "1.4"]);
});

test("a new mailbox.log is read also where it has the inode number of an old one that was removed", async () => {
	await using host = await scriptedHost();
	const log = host.config.zimbra.mailboxLog;
	await writeFile(log, failure("1.1"));
	const mark = await markMailboxLog(log);
	await rename(log, `${log}.2026-11-23`);
	await writeFile(log, failure("1.2"));
	const { ino } = await stat(log);
	const found = await readMailboxLog(log, { ...mark, older: [ino] });
	assert.equal(found?.failed[0]?.transaction, "1.2");
});

test("a log that was rotated before the run is not read", async () => {
	await using host = await scriptedHost();
	const log = host.config.zimbra.mailboxLog;
	await writeFile(`${log}.2026-11-22`, failure("1.0"));
	await writeFile(log, failure("1.1"));
	const mark = await markMailboxLog(log);
	assert.deepEqual((await readMailboxLog(log, mark))?.failed, []);
});

test("a log that is made by the run is read from its beginning", async () => {
	assert.deepEqual(await failuresSince(undefined, (log) => writeFile(log, failure("1.2"))), [
		"1.2",
	]);
});

for (const [title, meanwhile] of [
	["never made", async () => {}],
	["emptied", (log: string) => truncate(log, 0)],
	["removed", (log: string) => rm(log)],
	["rotated without a new one", (log: string) => rename(log, `${log}.1`)],
	[
		"rotated and compressed",
		async (log: string) => {
			await rename(log, `${log}.1.gz`);
			await writeFile(log, failure("1.3"));
		},
	],
	[
		"replaced under the same inode number",
		(log: string) => writeFile(log, failure("9.9").repeat(3)),
	],
] as const) {
	test(`mailbox.log ${title}: what the run did cannot be known`, async () => {
		const before = title === "never made" ? undefined : failure("1.1");
		assert.equal(await failuresSince(before, meanwhile), undefined);
	});
}
