import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { isMirrorRecordName } from "../../../src/formats/protocol/mirror-record.ts";
import { headerSize, parseHeader } from "../../../src/formats/redolog/header.ts";
import { givingWay } from "../../../src/programs/sync-commands/sessions.ts";
import type { Session } from "../../../src/services/sessions.ts";
import { until } from "../../pair/until.ts";
import { ending, LiveServer } from "./live-server.ts";

const sessions = (server: LiveServer): Promise<string[]> =>
	readdir(join(server.base, "status/sessions")).catch(() => []);

const ssh = (client: string) => ({ more: { SSH_CONNECTION: `${client} 50000 192.0.2.1 22` } });

/** A stream request from the beginning of redo.log, as a mirror makes it. */
async function streamRequest(server: LiveServer, mirror: string): Promise<string> {
	const header = parseHeader(
		(await readFile(server.path("redolog/redo.log"))).subarray(0, headerSize),
	);
	const { sequence, serverId, createTime } = header ?? assert.fail();
	return `stream ${sequence}:0 server=${serverId} create=${createTime} timeline=0 mirror=${mirror} compress=none protocol=1`;
}

async function mirrorsOf(server: LiveServer): Promise<string[]> {
	const names = await readdir(join(server.base, "status/mirrors")).catch(() => []);
	// One that was killed may have left a record half written, under a name of its own.
	return names.filter(isMirrorRecordName);
}

test("of each verb a small number of sessions is served, the next one is told that the server is busy", async () => {
	await using server = await LiveServer.make();
	const children = ["192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5"].map((client) =>
		server.start("wait_redo", [], ssh(client)),
	);
	await until("four are served", async () => (await sessions(server)).length === 4);
	const fifth = server.start("wait_redo", [], ssh("192.0.2.6"));
	const { code, stderr } = await ending(fifth);
	assert.equal(code, 75);
	assert.match(stderr, /refused: busy: 4 sessions of wait_redo run already/);
	assert.equal((await server.ask("test")).stdout, "OK\n", "another verb is served");
	assert.equal((await sessions(server)).length, 4);
	// Killed as if by the kernel, so that it can not say that it is gone.
	children[0]?.kill("SIGKILL");
	await once(children[0] ?? assert.fail(), "exit");
	const sixth = server.start("wait_redo", [], ssh("192.0.2.6"));
	await until("the place of the dead one is taken", async () =>
		(await sessions(server)).some((name) => name.includes("192.0.2.6")),
	);
	await until("four are served", async () => (await sessions(server)).length === 4);
	assert.equal(sixth.exitCode, null);
});

test("a client that comes back while its old sessions linger takes the place of its own oldest one", async () => {
	await using server = await LiveServer.make();
	const other = server.start("wait_redo", [], ssh("192.0.2.3"));
	await until("it is served", async () => (await sessions(server)).length === 1);
	const own = [];
	for (let count = 2; count <= 3; count++) {
		own.push(server.start("wait_redo", [], ssh("192.0.2.2")));
		await until("one more is served", async () => (await sessions(server)).length === count);
	}
	const [oldest = assert.fail()] = own;
	const ended = once(oldest, "exit");
	const next = server.start("wait_redo", [], ssh("::ffff:192.0.2.2"));
	await ended;
	await until("it is served", async () =>
		(await sessions(server)).some((name) => name.includes(`,${next.pid},`)),
	);
	assert.equal(other.exitCode, null, "nobody else's is ended");
});

/** Sessions of one verb, oldest first: who asked, and the mirror that each says it is. */
const table = (...rows: readonly (readonly [client: string, mirror?: string])[]): Session[] =>
	rows.map(([client, mirror = ""], index) => ({
		...{ verb: "", client, mirror },
		process: { pid: 100 + index, startTime: index, bootId: "boot" },
	}));

/** Places in the table of those that end. */
const ends = (
	verb: string,
	[client, mirror = ""]: [string, string?],
	before: Session[],
): number[] => givingWay({ verb, client, mirror }, before).map((each) => before.indexOf(each));

const invented = ["m1", "m2", "m3", "m4"] as const;

test("whoever asks for streams under many names of mirrors keeps two of them, and not the mirror out", () => {
	const two = table(["a", "m1"], ["a", "m2"]);
	assert.deepEqual(ends("stream_from", ["a", "m3"], two), [0], "the oldest of its own ends");
	assert.deepEqual(ends("stream_from", ["b", "m"], two), [], "there is place for another client");
	const four = table(...invented.map((mirror) => ["a", mirror] as const));
	assert.deepEqual(ends("stream_from", ["a", "m"], four), [0, 1, 2], "from its own address");
	assert.deepEqual(ends("stream_from", ["b", "m"], four), [0], "from another address");
});

test("two mirrors behind one address have a stream each, and a new one ends the old one of its own mirror", () => {
	const before = table(["a", "m1"], ["a", "m2"]);
	assert.deepEqual(ends("stream_from", ["a", "m2"], before), [1]);
	assert.deepEqual(ends("stream_from", ["a", "m1"], before), [0]);
	assert.deepEqual(ends("stream_from", ["b", "m1"], before), []);
});

test("where there is no place left, the client with the most sessions loses its oldest, and nobody his only one", () => {
	for (const verb of ["stream_from", "rsync", "ldap_changes", "wait_redo"]) {
		assert.deepEqual(ends(verb, ["d"], table(["a"], ["b"], ["c"], ["c"])), [2], verb);
		assert.deepEqual(ends(verb, ["d"], table(["b"], ["a"], ["a"], ["b"])), [0], verb);
		assert.deepEqual(ends(verb, ["e"], table(["a"], ["b"], ["c"], ["d"])), [], verb);
		assert.deepEqual(ends(verb, ["c", "m"], table(["a"], ["a"], ["c"], ["b"])), [2], verb);
	}
});

test("a client that asks for streams under invented names does not keep the mirror out, from whatever address", async () => {
	await using server = await LiveServer.make({ link_timeout: "60s" });
	const served = async (pid: number | undefined) =>
		(await sessions(server)).some((name) => name.includes(`,${pid},`));
	for (const client of ["192.0.2.8", "192.0.2.9"]) {
		for (const mirror of ["198.51.100.1", "198.51.100.2", "198.51.100.3"]) {
			const child = server.start(await streamRequest(server, mirror), [], ssh(client));
			await until("it is served", () => served(child.pid));
		}
	}
	await until("two of each are left", async () => (await sessions(server)).length === 4);
	const request = await streamRequest(server, "192.0.2.2");
	const mirror = server.start(request, [], ssh("192.0.2.2"));
	await until("the mirror is served", () => served(mirror.pid));
	await until("one has given way", async () => (await sessions(server)).length === 4);
	assert.equal(mirror.exitCode, null);
});

test("a session whose client is there and does not read ends when it is told to", async () => {
	await using server = await LiveServer.make();
	// More than pipes and sockets hold.
	await writeFile(server.path("redolog/redo.log"), Buffer.alloc(16 << 20));
	const child = server.start("stream", [], ssh("192.0.2.2"));
	await until("it is served", async () => (await sessions(server)).length === 1);
	await once(child.stdout, "readable");
	const ended = once(child, "exit");
	child.kill("SIGTERM");
	assert.deepEqual(await ended, [1, null]);
});

test("a new stream ends the old one of the same mirror at once, and of no other mirror", async () => {
	await using server = await LiveServer.make({ link_timeout: "60s" });
	const [request, another] = [
		await streamRequest(server, "192.0.2.2"),
		await streamRequest(server, "192.0.2.3"),
	];
	const first = server.start(request, [], ssh("192.0.2.2"));
	const second = server.start(another, [], ssh("192.0.2.3"));
	await until("both are served", async () => (await sessions(server)).length === 2);
	const ended = once(first, "exit");
	const third = server.start(request, [], ssh("192.0.2.2"));
	await ended;
	await until("it is served", async () => (await sessions(server)).length === 2);
	assert.deepEqual([second.exitCode, third.exitCode], [null, null]);
});

test("requests that do not come are not waited for by the dozen", async () => {
	await using server = await LiveServer.make({ link_timeout: "60s" });
	for (let count = 0; count < 12; count++) server.start();
	await until("twelve wait", async () => (await sessions(server)).length === 12);
	const { code, stderr } = await ending(server.start());
	assert.equal(code, 75);
	assert.match(stderr, /busy/);
	assert.equal((await server.ask("test")).stdout, "OK\n", "a request that is there is served");
});

test("one mirror has one record, however its address is spelt", async () => {
	await using server = await LiveServer.make({ link_timeout: "60s" });
	for (const spelling of ["2001:db8::2", "2001:DB8:0:0:0:0:0:2", "2001:0db8::0002"]) {
		const child = server.start(await streamRequest(server, spelling), [], ssh("2001:db8::2"));
		await until("it is served", async () =>
			(await sessions(server)).some((name) => name.includes(`,${child.pid},`)),
		);
		await until("it is known", async () => (await mirrorsOf(server)).length > 0);
		child.kill("SIGKILL");
		await once(child, "exit");
	}
	assert.deepEqual(await mirrorsOf(server), ["2001:db8::2.json"]);
	const mapped = server.start(await streamRequest(server, "::ffff:192.0.2.2"));
	await until("it is known", async () => (await mirrorsOf(server)).includes("192.0.2.2.json"));
	mapped.kill("SIGKILL");
});

test("of invented mirrors eight are known at most, and a mirror that is known is served all the same", async () => {
	await using server = await LiveServer.make({ link_timeout: "60s" });
	const directory = join(server.base, "status/mirrors");
	await mkdir(directory, { recursive: true });
	const at = { wall: 1000, monotonic: 1, bootId: "an earlier boot" };
	for (let last = 1; last <= 8; last++) {
		const mirror = `192.0.2.${last}`;
		const record = { version: 1, mirror, replayed: null, at };
		await writeFile(join(directory, `${mirror}.json`), JSON.stringify(record));
	}
	const { code, stdout, stderr } = await server.ask(await streamRequest(server, "192.0.2.9"));
	assert.deepEqual([code, stdout], [1, ""]);
	assert.match(stderr, /192\.0\.2\.9 is not known here, and 8 others are.*\[too-many-mirrors\]/);
	assert.match(stderr, /live-syncd\S* forget ADDRESS/);
	assert.equal((await mirrorsOf(server)).length, 8);
	const known = server.start(await streamRequest(server, "192.0.2.8"), [], ssh("192.0.2.8"));
	await until("it is heard of", async () =>
		(await readFile(join(directory, "192.0.2.8.json"), "utf8")).includes("heardAt"),
	);
	assert.equal(known.exitCode, null);
});

test("records of one mirror that version 2.0.0 made under several spellings become one, with what was said last", async () => {
	await using server = await LiveServer.make({ link_timeout: "60s" });
	const directory = join(server.base, "status/mirrors");
	await mkdir(directory, { recursive: true });
	const record = (mirror: string, sequence: number, wall: number) =>
		JSON.stringify({
			version: 1,
			mirror,
			replayed: { serverId: "s", sequence, createTime: 1, timeline: 0, offset: 512 },
			at: { wall, monotonic: 1, bootId: "an earlier boot" },
		});
	await writeFile(join(directory, "0:0:0:0:0:0:0:1.json"), record("0:0:0:0:0:0:0:1", 3, 1000));
	await writeFile(join(directory, "0::1.json"), record("0::1", 5, 2000));
	await writeFile(join(directory, "192.0.2.9.json"), record("192.0.2.9", 4, 1500));
	const child = server.start(await streamRequest(server, "0:0::1"));
	await until("they are one", async () => (await mirrorsOf(server)).length === 2);
	child.kill("SIGKILL");
	assert.deepEqual((await mirrorsOf(server)).toSorted(), ["192.0.2.9.json", "::1.json"]);
	const { mirror, replayed } = JSON.parse(await readFile(join(directory, "::1.json"), "utf8"));
	assert.deepEqual([mirror, replayed.sequence], ["::1", 5]);
});
