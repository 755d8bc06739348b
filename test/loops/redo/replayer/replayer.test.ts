import assert from "node:assert/strict";
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { removeReplayedArchives } from "../../../../src/loops/redo/replayed-archives.ts";
import { commitEach, makeMirror, replayedAt, users } from "./mirror.ts";

const [user1, user2, user3] = users;
const { signal } = new AbortController();

test("invariant 4: over many slices, stops and starts each committed operation is executed once", async () => {
	await using mirror = await makeMirror();
	const { mailbox } = mirror.pair.a;
	for (let round = 0; round < 6; round++) {
		const [, first] = await mailbox.deliver({ to: [user1] });
		const item = first?.item ?? 257;
		await mailbox.deliver({ to: users, size: 5000, ...(round % 3 === 1 && { rolloverBefore: 1 }) });
		const folder = await mailbox.createFolder(user1, `Round ${round}`);
		await mailbox.copy(user1, [item], folder.item ?? 2);
		await mailbox.markFolderRead(user2, 2);
		await mailbox.deliver({ to: [user3], abort: true });
		if (round % 2 === 1) await mailbox.rollover();
		const result = await mirror.follow();
		assert.equal(result.kind, "up to date");
		// A stop and a start as a mirror between the rounds: the services go down and come back.
		if (round === 2) {
			await mirror.pair.b.mustRun("mysql.server", "stop");
			await mirror.pair.b.mustRun("ldap", "stop");
		}
	}
	assert.deepEqual(mirror.notOnce(), []);
	assert.deepEqual(await mirror.differences(), []);
	assert.deepEqual(await replayedAt(mirror), await mailbox.position());
	assert.deepEqual(readdirSync(mirror.config.base.slices), [], "slices are removed when done");
	assert.equal(mirror.replayer.state.failedOperations, 0);
});

test("invariant 4: a delivery that is open over slices and a rollover is executed once, when it is committed", async () => {
	await using mirror = await makeMirror();
	const { mailbox } = mirror.pair.a;
	await mailbox.deliver({ to: [user1] });
	const open = await mailbox.begin({ to: [user1] });
	await mailbox.deliver({ to: [user2] });
	await mirror.follow();
	await mailbox.rollover();
	await mailbox.deliver({ to: [user2] });
	await mirror.follow();
	await open.commit();
	await mirror.follow();
	assert.deepEqual(mirror.notOnce(), []);
	assert.deepEqual(await mirror.differences(), []);
});

test("row 'a rollover between a blob and its links': all recipients have the message", async () => {
	await using mirror = await makeMirror();
	const { mailbox } = mirror.pair.a;
	const open = await mailbox.begin({ to: users, rolloverBefore: 0 });
	// A replay runs between the blob and its links, and between one link and the next.
	await mirror.follow();
	await commitEach(open, () => mirror.follow());
	await mirror.follow();
	assert.deepEqual(await mirror.differences(), []);
	assert.deepEqual(mirror.notOnce(), []);
});

test("a message that the live server's recovery aborts for one recipient, and may have all the same, is named once", async () => {
	await using mirror = await makeMirror();
	const { mailbox } = mirror.pair.a;
	const open = await mailbox.begin({ to: users });
	await mirror.follow();
	await commitEach({ ...open, commit: () => open.abort() });
	const named = () => mirror.logged.filter(({ msg }) => /aborted a message for one of/.test(msg));
	await mailbox.deliver({ to: [user1] });
	mirror.pair.b.replayFaults({ exit: 1 });
	mirror.ship();
	for (let i = 0; i < 2; i++)
		assert.equal((await mirror.replayer.replay({ upTo: "everything", signal })).kind, "retry");
	mirror.pair.b.replayFaults({});
	await mirror.follow();
	const ids = named().map(({ transaction }) => transaction);
	assert.ok(ids.length > 0);
	assert.equal(new Set(ids).size, ids.length, "each once");
	for (const line of named()) {
		assert.match(String(line["recipient"]), /^user\d@example\.net$/);
		assert.ok(Number(line["mailboxId"]) > 0);
		assert.match(String(line["subject"]), /./);
		assert.match(String(line["blob"]), /^\//);
	}
});

test("nothing new, no run", async () => {
	await using mirror = await makeMirror();
	await mirror.pair.a.mailbox.deliver({ to: [user1] });
	await mirror.follow();
	const { runs } = mirror.replayer.state;
	assert.equal((await mirror.follow()).kind, "up to date");
	assert.equal(mirror.replayer.state.runs, runs);
});

test("never ahead: bytes that have not settled, or are beyond the LDAP copy, are not replayed", async () => {
	await using mirror = await makeMirror();
	const { mailbox } = mirror.pair.a;
	await mailbox.deliver({ to: [user1] });
	const settled = await mailbox.position();
	await mailbox.deliver({ to: [user2] });
	const all = await mailbox.position();
	mirror.ship();
	const replay = () => mirror.replayer.replay({ upTo: "settled", signal });

	assert.equal((await replay()).kind, "up to date", "nothing has settled yet");
	mirror.limits.settled = all;
	mirror.limits.coverage = undefined;
	assert.equal((await replay()).kind, "up to date", "LDAP coverage is unknown");
	mirror.limits.coverage = settled;
	assert.equal((await replay()).kind, "replayed");
	assert.deepEqual(await replayedAt(mirror), settled);
	mirror.limits.coverage = all;
	assert.equal((await replay()).kind, "replayed");
	assert.deepEqual(await replayedAt(mirror), all);
	assert.deepEqual(mirror.notOnce(), []);
});

test("invariant 5: an archive with a blob that a link may still need stays, whatever its age", async () => {
	await using mirror = await makeMirror({ settings: { retention: "0s" } });
	const { mailbox } = mirror.pair.a;
	await mailbox.deliver({ to: [user1] });
	await mailbox.rollover();
	await mirror.follow();
	const archive = mirror.config.zimbra.archive;
	const [old] = readdirSync(archive);
	const open = await mailbox.begin({ to: users, rolloverBefore: 0 });
	await mirror.follow();
	assert.deepEqual(await removeReplayedArchives(mirror.config, mirror.log), [old]);
	assert.equal(readdirSync(archive).length, 1, "the log that has the blob is still there");
	await commitEach(open);
	rmSync(join(mirror.pair.a.path("redolog/archive"), old ?? ""));
	await mirror.follow();
	assert.deepEqual(await mirror.differences(), []);
});

test("archives that are younger than the retention time stay", async () => {
	await using mirror = await makeMirror({ settings: { retention: "1h" } });
	const { mailbox } = mirror.pair.a;
	await mailbox.deliver({ to: [user1] });
	await mailbox.rollover();
	await mailbox.deliver({ to: [user1] });
	await mirror.follow();
	assert.deepEqual(await removeReplayedArchives(mirror.config, mirror.log), []);
	const later = Date.now() + 3_700_000;
	assert.equal((await removeReplayedArchives(mirror.config, mirror.log, later)).length, 1);
});

test("row 'position file lost': nothing is replayed, and why is said", async () => {
	await using mirror = await makeMirror();
	await mirror.pair.a.mailbox.deliver({ to: [user1] });
	mirror.ship();
	rmSync(mirror.config.base.replayed);
	await assert.rejects(mirror.replayer.replayEverything(signal), { code: "position-lost" });
	assert.equal(existsSync(mirror.config.base.replayed), false);
	assert.deepEqual(mirror.pair.b.executions(), []);
});

test("row 'admin starts Zimbra on the mirror without stop': replay withdraws, mailboxd untouched", async () => {
	await using mirror = await makeMirror();
	await mirror.pair.a.mailbox.deliver({ to: [user1] });
	mirror.ship();
	await mirror.pair.b.mustRun("zmcontrol", "start");
	const pid = mirror.pair.b.servicePid("mailboxd");
	await assert.rejects(mirror.replayer.replay({ upTo: "everything", signal }), {
		code: "mailboxd-up",
	});
	await assert.rejects(mirror.replayer.keepReplaying(signal), { code: "mailboxd-up" });
	assert.equal(mirror.pair.b.servicePid("mailboxd"), pid);
});
