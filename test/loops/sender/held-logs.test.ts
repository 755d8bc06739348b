import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, renameSync, rmSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { HeldLogs } from "../../../src/loops/sender/held-logs.ts";
import { readAt } from "../../../src/services/files.ts";
import { type ZimbraPaths, zimbraPaths } from "../../../src/services/paths.ts";
import { header } from "../../formats/redolog/build.ts";

const pollMs = 20;

/** A redolog/ in which each log becomes redo.log by a rename, as at a rollover. */
function place(): Disposable & { zimbra: ZimbraPaths; begin(sequence: number): void } {
	const directory = mkdtempSync(join(tmpdir(), "held-logs-"));
	const zimbra = zimbraPaths(directory);
	mkdirSync(zimbra.archive, { recursive: true });
	return {
		zimbra,
		begin(sequence) {
			const made = join(zimbra.redolog, "next");
			writeFileSync(made, Buffer.concat([header({ sequence }), Buffer.from(`log ${sequence}`)]));
			renameSync(made, zimbra.currentLog);
		},
		[Symbol.dispose]: () => rmSync(directory, { recursive: true }),
	};
}

/** Long enough for several looks of a watcher that polls. */
const seen = () => sleep(20 * pollMs);

test("logs that come and are deleted at their rollover, while the mirror is slow, are held in turn", async () => {
	using at = place();
	at.begin(1);
	await using held = new HeldLogs(at.zimbra, pollMs);
	await seen();
	for (const sequence of [2, 3]) {
		unlinkSync(at.zimbra.currentLog);
		at.begin(sequence);
		await seen();
	}
	unlinkSync(at.zimbra.currentLog);

	for (const sequence of [2, 3]) {
		const log = await held.take(sequence);
		assert.ok(log !== undefined, `log ${sequence} is held`);
		assert.equal(log.header.sequence, sequence);
		assert.equal((await readAt(log.file, 512, 100)).toString(), `log ${sequence}`);
		await log.file.close();
	}
	assert.equal(await held.take(2), undefined, "what is older is let go");
});

test("a log is held once, however often it is looked at, and taken at once when it comes", async () => {
	using at = place();
	at.begin(1);
	await using held = new HeldLogs(at.zimbra, 60_000);
	await seen();
	at.begin(2);
	// No poll comes to its help: asking is a look of its own.
	const log = await held.take(2);
	assert.equal(log?.header.sequence, 2);
	await log?.file.close();
	assert.equal(await held.take(2), undefined);
});
