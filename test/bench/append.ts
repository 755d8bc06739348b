/**
 * `append.ts REDO.LOG RATE SECONDS BYTES`: a mailboxd that logs so many mails a second of that size,
 * with Zimbra's system calls. Tells its parent where each record ends, and when its first byte was
 * written.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { LogWriter } from "../pair/redo/log-writer.ts";
import { mailRecord, makeBody } from "./mails.ts";
import { clock } from "./numbers.ts";

/** zimbraRedoLogFsyncIntervalMS */
const fsyncMs = 10;

export type Mark = {
	/** end of the record in the file */
	readonly offset: number;
	/** ms, as clock() */
	readonly at: number;
};

const [path = "", rate, seconds, bytes] = process.argv.slice(2);
const writer = new LogWriter(path, "", 0, fsyncMs);
writer.open();
const body = makeBody("text", Number(bytes));
const until = clock() + Number(seconds) * 1000;
for (let next = clock(); next < until; ) {
	const record = mailRecord(body);
	const at = clock();
	void writer.log(record, true);
	process.send?.({ offset: writer.size, at } satisfies Mark);
	// As mails come: each at any time, so many in the mean.
	next += (-Math.log(Math.random()) * 1000) / Number(rate);
	await sleep(Math.max(0, next - clock()));
}
writer.flush();
process.disconnect?.();
