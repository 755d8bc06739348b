import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { cronHasIncremental, schedulesIncremental } from "../../src/formats/backup-schedule.ts";
import type { MirrorRecord } from "../../src/formats/protocol/mirror-record.ts";
import { type ArchivedLog, planPurge } from "../../src/formats/retention.ts";

const at = { wall: 1, monotonic: 1, bootId: "b" };
const hour = 3_600_000;
const archive = (sequence: number, age = 100 * hour): ArchivedLog => ({
	name: `redo-20261123.143054.085-seq${sequence}.log`,
	sequence,
	serverId: "s",
	age,
});
const mirror = (sequence: number, more = {}): MirrorRecord => ({
	version: 1,
	mirror: `192.0.2.${sequence}`,
	replayed: { serverId: "s", sequence, createTime: 1, timeline: 1, offset: 600, ...more },
	at,
});
const plan = (archives: ArchivedLog[], mirrors: MirrorRecord[]) => {
	const { remove, kept } = planPurge({ archives, mirrors, retention: 48 * hour, timeline: 1 });
	return { removed: remove.map(({ sequence }) => sequence), kept };
};

test("invariant 5: without a known mirror the retention time alone decides", () => {
	assert.deepEqual(plan([archive(2), archive(1), archive(3, 47 * hour)], []).removed, [1, 2]);
});

test("invariant 5: only what every known mirror has replayed goes", () => {
	const { removed, kept } = plan(
		[1, 2, 3, 4, 5].map((n) => archive(n)),
		[mirror(5), mirror(3)],
	);
	assert.deepEqual(removed, [1, 2]);
	assert.equal(kept.length, 2);
});

test("invariant 5: what was replayed stays until the retention time is over", () => {
	assert.deepEqual(plan([archive(1, hour)], [mirror(9)]).removed, []);
});

test("invariant 5: a mirror that has replayed nothing yet needs everything", () => {
	const { removed, kept } = plan([archive(1)], [{ ...mirror(1), replayed: null }]);
	assert.deepEqual(removed, []);
	assert.match(kept[0] ?? "", /192\.0\.2\.1 has not replayed anything/);
});

test("invariant 5: a position in another history, or of another server, proves nothing", () => {
	assert.deepEqual(plan([archive(1)], [mirror(9, { timeline: 2 })]).removed, []);
	assert.deepEqual(plan([archive(1)], [mirror(9, { serverId: "t" })]).removed, []);
	assert.deepEqual(plan([{ ...archive(1), serverId: undefined }], [mirror(9)]).removed, []);
});

test("invariant 5: whatever archives and mirrors there are, nothing at or above a mirror's position goes", () => {
	const archives = fc.array(fc.tuple(fc.nat(20), fc.nat(100)), { maxLength: 20 });
	fc.assert(
		fc.property(archives, fc.array(fc.nat(20), { maxLength: 4 }), (made, positions) => {
			const mirrors = positions.map((position) => mirror(position));
			const all = made.map(([sequence, age]) => archive(sequence, age * hour));
			const { remove } = planPurge({ archives: all, mirrors, retention: 48 * hour, timeline: 1 });
			for (const each of remove) {
				assert.ok(each.age > 48 * hour);
				assert.ok(positions.every((position) => each.sequence < position));
			}
		}),
	);
});

test("an incremental backup in the schedule is found at the start of a line only", () => {
	assert.ok(schedulesIncremental("Current Schedule:\n\n\tf 0 1 * * 6\n\ti 0 1 * * 0-5\n"));
	assert.ok(schedulesIncremental("i */10 1,13 * * 0-5 --mail-report\n"));
	assert.ok(!schedulesIncremental("\tf 0 1 * * 6\n\td 1m 0 0 * * *\n"));
	assert.ok(!schedulesIncremental("wifi 0 1 * * 0-5\n"));
	assert.ok(!schedulesIncremental(""));
});

test("an incremental backup in the crontab is found, one that is commented out is not", () => {
	assert.ok(cronHasIncremental("0 1 * * 0-5 /opt/zimbra/bin/zmbackup -i --mail-report\n"));
	assert.ok(!cronHasIncremental("# 0 1 * * 0-5 /opt/zimbra/bin/zmbackup -i\n"));
	assert.ok(!cronHasIncremental("0 1 * * 6 /opt/zimbra/bin/zmbackup -f -a all\n"));
	assert.ok(!cronHasIncremental("0 1 * * 6 /opt/zimbra/bin/zmbackupquery -i\n"));
});
