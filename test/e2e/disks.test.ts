import assert from "node:assert/strict";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { createPair } from "../pair/pair.ts";
import { canMountSmallDisk, SmallDisk } from "../pair/small-disk.ts";
import { until } from "../pair/until.ts";
import {
	assertExecutedOnce,
	assertNothingRuns,
	caughtUp,
	deliver,
	following,
	liveSyncd,
	quick,
	quickly,
	redoLoop,
	redoState,
	refused,
	tail,
} from "./support.ts";

test("the mirror's disk full, then read-only: nothing acknowledged that is not there, said, and mended by itself", async (t) => {
	if (!canMountSmallDisk()) return t.skip("no tmpfs can be mounted in a namespace here");
	await using pair = await createPair({ ...quickly });
	const { b } = pair;
	await using disk = await SmallDisk.mount(b, "redolog", "300k");
	const isSaid = (what: RegExp) =>
		until(`${what} is said`, async () => {
			const state = await redoState(b);
			return state?.problems.some(({ message }) => what.test(message)) ?? false;
		}).catch((error: unknown) => {
			throw new Error(`${String(error)}${tail(b)}`);
		});
	{
		await using _ = await following(pair);
		await deliver(pair, 20);
		await pair.a.mailbox.deliver({ to: ["user1@example.net"], size: 600_000 });
		await isSaid(/ENOSPC.*write '.*redolog\/redo\.log'/);
		await disk.resize("20m");
		await caughtUp(pair, { redolog: disk.path });
		await until("the problem is over", async () => (await redoState(b))?.problems.length === 0);
	}
	await disk.readOnly(true);
	await using _ = await redoLoop(pair);
	await deliver(pair, 5, 2);
	await isSaid(/EROFS/);
	await disk.readOnly(false);
	await caughtUp(pair, { redolog: disk.path });
});

test("a disk that is all but full: start refuses, names the directory and what a copy of LDAP takes", async (t) => {
	await using pair = await createPair({
		ldap: { writemap: true, entries: 300 },
		...quickly,
		settings: { ...quick, disk_floor: "900T" },
	});
	const { b } = pair;
	const said = await refused(b, "disk-space");
	assert.match(said, /MiB free, a copy of LDAP takes [1-9]\d* MiB and 943718400 MiB must stay/);
	for (const { confFile } of [pair.a, b]) {
		writeFileSync(confFile, readFileSync(confFile, "utf8").replace("900T", "1M"));
	}
	if (!canMountSmallDisk()) return t.skip("no tmpfs can be mounted in a namespace here");
	await using disk = await SmallDisk.mount(b, "redolog", "300k");
	assert.match(await refused(b, "disk-space"), /zimbra\/redolog: 0 MiB free/);
	await disk.resize("20m");
	await liveSyncd(b, "start");
	await deliver(pair, 2);
	await caughtUp(pair, { redolog: disk.path });
	await liveSyncd(b, "kill");
	// After a reboot, say: a mirror that has followed before goes on with what room there is.
	await disk.resize("900k");
	const again = await liveSyncd(b, "start");
	assert.match(again, /Warning: .*zimbra\/redolog: [01] MiB free/);
	await deliver(pair, 2);
	await caughtUp(pair, { redolog: disk.path });
	const told = /warning redo.*redolog: [01] MiB free.*\[disk-space\]/;
	await until("status tells of it", async () => told.test(await liveSyncd(b, "status")));
	await liveSyncd(b, "kill");
});

test("stop tells how far the live log lies beyond what a full disk let in, and is not done", async (t) => {
	if (!canMountSmallDisk()) return t.skip("no tmpfs can be mounted in a namespace here");
	await using pair = await createPair({ ...quickly, settings: { ...quick, disk_floor: "0" } });
	const { a, b } = pair;
	await using disk = await SmallDisk.mount(b, "redolog", "300k");
	await liveSyncd(b, "start");
	await deliver(pair, 3);
	await caughtUp(pair, { redolog: disk.path });
	await a.mailbox.deliver({ to: ["user1@example.net"], size: 3_000_000 });
	const { sequence, offset } = await a.mailbox.position();
	await until("its end was heard of", async () => {
		const live = (await redoState(b))?.live?.position;
		return live?.sequence === sequence && live.offset === offset;
	});
	await a.crash();
	const said = await liveSyncd(b, "stop", 5);
	assert.match(
		said,
		new RegExp(`\\d{7} bytes never came here: .* its redo log ended at ${sequence}:${offset}`),
	);
	assert.match(said, /live-syncd\S* stop --accept-loss && zmcontrol start\n$/);
	assert.match(await liveSyncd(b, "stop --accept-loss"), /^done$/m);
});

test("stop with a full disk names the file and what to do; with room again, it replays everything", async (t) => {
	if (!canMountSmallDisk()) return t.skip("no tmpfs can be mounted in a namespace here");
	await using pair = await createPair({ ...quickly, settings: { ...quick, disk_floor: "0" } });
	const { a, b } = pair;
	await using disk = await SmallDisk.mount(b, "live_sync", "20m");
	await liveSyncd(b, "start");
	await deliver(pair, 5);
	await caughtUp(pair, { base: disk.path });
	await a.crash();
	// So that nobody makes room for a moment by replacing a file.
	await liveSyncd(b, "kill");
	const filler = join(disk.path, "filler");
	assert.throws(() => writeFileSync(filler, Buffer.alloc(30 << 20)), /ENOSPC/);
	const said = await liveSyncd(b, "stop", 1);
	assert.match(
		said,
		/ENOSPC: no space left on device, write '.*live_sync\/.*'\n {2}try: make room/,
	);
	rmSync(filler);
	await liveSyncd(b, "stop");
	assertExecutedOnce(pair);
	await assertNothingRuns(pair);
});
