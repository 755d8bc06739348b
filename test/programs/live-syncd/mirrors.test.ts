import assert from "node:assert/strict";
import { mkdir, readdir, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { formatMirrorRecord } from "../../../src/formats/protocol/mirror-record.ts";
import { now } from "../../../src/services/clock.ts";
import { runToEnd } from "../../pair/run.ts";
import { until } from "../../pair/until.ts";
import { LiveServer } from "../sync-commands/live-server.ts";

const program = join(import.meta.dirname, "../../../bin/live-syncd.ts");
const hour = 3_600_000;

const liveSyncd = (server: LiveServer, ...words: string[]) =>
	runToEnd(process.execPath, [
		...[program, "--config", join(server.base, "live_sync.conf")],
		...words,
	]);

const directoryOf = (server: LiveServer) => join(server.base, "status/mirrors");

/** A record of a mirror that has replayed up to a sequence and was last heard of so long ago. */
async function record(server: LiveServer, mirror: string, sequence: number, hoursAgo: number) {
	await mkdir(directoryOf(server), { recursive: true });
	const moment = now();
	const heardAt = { ...moment, wall: moment.wall - hoursAgo * hour, bootId: "an earlier boot" };
	const replayed = { serverId: "s", sequence, createTime: 1, timeline: 1, offset: 600 };
	await writeFile(
		join(directoryOf(server), `${mirror}.json`),
		formatMirrorRecord({ version: 1, mirror, replayed, at: heardAt, heardAt }),
	);
}

/** A live server whose archives, sequences 0 to 3, are 100 hours old. */
async function aged(settings: Record<string, string> = {}): Promise<LiveServer> {
	const server = await LiveServer.make(settings);
	const time = new Date(Date.now() - 100 * hour);
	for (const name of await readdir(server.path("redolog/archive"))) {
		await utimes(server.path("redolog/archive", name), time, time);
	}
	return server;
}

test("status on the live server lists the mirrors, what each holds back, and warns of one that is gone", async () => {
	await using server = await aged();
	await record(server, "192.0.2.2", 2, 73);
	await record(server, "192.0.2.3", 9, 1);
	const { code, stdout } = await liveSyncd(server, "status");
	assert.equal(code, 3);
	assert.match(
		stdout,
		/^mirror {4}192\.0\.2\.2: away, heard 3 days ago, replayed 2:600, holds back 2 archives, [\d.]+ MiB$/m,
	);
	assert.match(stdout, /^mirror {4}192\.0\.2\.3: .*holds back 0 archives, 0\.0 MiB$/m);
	const warnings = stdout.split("\n").filter((line) => line.startsWith("warning"));
	assert.equal(warnings.length, 1);
	assert.match(warnings[0] ?? "", /mirror 192\.0\.2\.2 has not been heard of for 3 days/);
	const { mirrors } = JSON.parse((await liveSyncd(server, "status", "--json")).stdout);
	assert.deepEqual(
		mirrors.map((each: { mirror: string; holds: { files: number } }) => [
			each.mirror,
			each.holds.files,
		]),
		[
			["192.0.2.2", 2],
			["192.0.2.3", 0],
		],
	);
});

test("status warns where the disk of the redo logs runs out and archives are kept for a mirror", async () => {
	await using server = await aged({ disk_floor: "100T" });
	await record(server, "192.0.2.2", 1, 1);
	assert.match(
		(await liveSyncd(server, "status")).stdout,
		/warning mirrors: only \d+ MiB are free for redo logs, and [\d.]+ MiB are kept for mirror 192\.0\.2\.2/,
	);
});

test("status without mirrors says nothing of them, and a mirror's own status neither", async () => {
	await using server = await aged();
	assert.doesNotMatch((await liveSyncd(server, "status")).stdout, /^mirrors? /m);
	assert.deepEqual(JSON.parse((await liveSyncd(server, "status", "--json")).stdout).mirrors, []);
	await record(server, "192.0.2.2", 1, 100);
	const role = { version: 1, role: "mirror", timeline: 0, since: 1 };
	await writeFile(join(server.base, "status/role.json"), JSON.stringify(role));
	assert.doesNotMatch((await liveSyncd(server, "status")).stdout, /^mirrors? /m);
});

test("a damaged record does not hide the status", async () => {
	await using server = await aged();
	await mkdir(directoryOf(server), { recursive: true });
	await writeFile(join(directoryOf(server), "192.0.2.2.json"), "{");
	const { code, stdout } = await liveSyncd(server, "status");
	assert.equal(code, 3);
	assert.match(stdout, /mirror {4}192\.0\.2\.2: record damaged/);
	assert.match(stdout, /try: .*forget 192\.0\.2\.2/);
	assert.equal((await liveSyncd(server, "forget", "192.0.2.2")).code, 0);
	assert.deepEqual(await readdir(directoryOf(server)), []);
});

test("mirrors that cannot be told are a warning", async () => {
	await using server = await aged();
	await mkdir(join(server.base, "status"), { recursive: true });
	await writeFile(directoryOf(server), "");
	const { code, stdout } = await liveSyncd(server, "status");
	assert.equal(code, 3);
	assert.match(stdout, /^mirrors {3}unknown$/m);
	assert.match(stdout, /^warning mirrors: .*ENOTDIR/m);
});

test("forget drops one mirror, under any spelling of its address, and the next purge removes what it held back", async () => {
	await using server = await aged();
	await record(server, "2001:db8::2", 2, 30);
	await record(server, "192.0.2.3", 3, 1);
	const { code, stdout } = await liveSyncd(server, "forget", "2001:DB8:0::2");
	assert.equal(code, 0);
	assert.match(stdout, /Forgot mirror 2001:db8::2: it had replayed 2:600; 2 archives, [\d.]+ MiB,/);
	assert.deepEqual(await readdir(directoryOf(server)), ["192.0.2.3.json"]);
	const unknown = await liveSyncd(server, "forget", "192.0.2.9");
	assert.equal(unknown.code, 1);
	assert.match(unknown.stderr, /no mirror 192\.0\.2\.9 is known here: known are 192\.0\.2\.3/);
	const outside = await liveSyncd(server, "forget", "../../status/role");
	assert.equal(outside.code, 1);
});

test("a mirror with another address than before is the same mirror: its old record goes when that address is silent", async () => {
	await using server = await aged();
	await record(server, "192.0.2.2", 2, 1);
	const moved = async () => (await server.ask("moved 192.0.2.2 2001:DB8::2")).stdout;
	assert.equal(await moved(), "later\n", "it is not known by the new address yet");
	await record(server, "2001:db8::2", 3, 0);
	assert.equal(await moved(), "later\n", "somebody was heard under the old address an hour ago");
	await record(server, "192.0.2.2", 2, 25);
	assert.equal(await moved(), "moved\n");
	assert.deepEqual(await readdir(directoryOf(server)), ["2001:db8::2.json"]);
	assert.equal(await moved(), "moved\n", "and again");
	for (const request of ["moved 192.0.2.2", "moved a b", "moved ::1 0:0::1", "moved ../x ::1"]) {
		assert.match((await server.ask(request)).stderr, /refused: moved takes two/, request);
	}
});

test("forget refuses a mirror that was heard of minutes ago, and one that streams, unless it is told", async () => {
	await using server = await aged({ link_timeout: "60s" });
	await record(server, "192.0.2.2", 2, 0.1);
	const refused = await liveSyncd(server, "forget", "192.0.2.2");
	assert.equal(refused.code, 1);
	assert.match(refused.stderr, /heard of 6 min ago.*\[mirror-in-use\]/);
	assert.equal((await liveSyncd(server, "forget", "--anyway", "192.0.2.2")).code, 0);

	const request =
		"stream 4:0 server=s create=0 timeline=0 mirror=192.0.2.2 compress=none protocol=1";
	const child = server.start(request);
	await until("the mirror is known", async () => (await readdir(directoryOf(server))).length === 1);
	const streams = await liveSyncd(server, "forget", "192.0.2.2");
	assert.match(streams.stderr, /its stream is open at this moment.*\[mirror-in-use\]/);
	child.kill("SIGKILL");
});
