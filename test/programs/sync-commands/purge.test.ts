import assert from "node:assert/strict";
import { mkdir, readdir, readFile, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { formatMirrorRecord } from "../../../src/formats/protocol/mirror-record.ts";
import { headerSize, parseHeader } from "../../../src/formats/redolog/header.ts";
import { now } from "../../../src/services/clock.ts";
import { LiveServer } from "./live-server.ts";

const archive = (server: LiveServer) => server.path("redolog/archive");

/** A server whose four archives are `hours` old. */
async function aged(hours: number): Promise<LiveServer> {
	const server = await LiveServer.make();
	for (const name of await readdir(archive(server))) await age(join(archive(server), name), hours);
	return server;
}

async function age(path: string, hours: number): Promise<void> {
	const time = new Date(Date.now() - hours * 3_600_000);
	await utimes(path, time, time);
}

async function sequences(server: LiveServer): Promise<string[]> {
	const names = await readdir(archive(server));
	return names.map((name) => /seq(\d+)/.exec(name)?.[1] ?? name).toSorted();
}

async function record(server: LiveServer, mirror: string, sequence: number, timeline = 1) {
	const header = parseHeader(
		(await readFile(server.path("redolog/redo.log"))).subarray(0, headerSize),
	);
	const serverId = header?.serverId ?? "";
	const directory = join(server.base, "status/mirrors");
	await mkdir(directory, { recursive: true });
	const replayed = { serverId, sequence, createTime: 1, timeline, offset: 600 };
	await writeFile(
		join(directory, `${mirror}.json`),
		formatMirrorRecord({ version: 1, mirror, replayed, at: now() }),
	);
	return join(directory, `${mirror}.json`);
}

test("invariant 5: without a known mirror archives go when they are older than retention", async () => {
	await using server = await aged(49);
	const [first = ""] = await readdir(archive(server));
	await age(join(archive(server), first), 47);
	const { code, stdout, stderr } = await server.ask("purge");
	assert.deepEqual([code, stdout, stderr], [0, "", ""]);
	assert.deepEqual(await readdir(archive(server)), [first]);
	const removed = (await server.served()).filter((line) => line.includes("removed file="));
	assert.equal(removed.length, 3);
});

test("invariant 5: the bare purge of a 2011 mirror removes nothing that another mirror needs", async () => {
	await using server = await aged(100);
	await record(server, "192.0.2.1", 9);
	await record(server, "192.0.2.2", 2);
	const { code, stderr } = await server.ask(undefined, { input: "purge\n" });
	assert.equal(code, 0);
	assert.deepEqual(await sequences(server), ["2", "3"]);
	assert.match(stderr, /192\.0\.2\.2 has replayed only up to 2:600; if that mirror is no more/);
});

test("invariant 5: a damaged record means that nothing is removed, and it is said", async () => {
	await using server = await aged(100);
	await record(server, "192.0.2.1", 9);
	const file = await record(server, "192.0.2.2", 9);
	await writeFile(file, (await readFile(file, "utf8")).slice(0, 40));
	const { code, stderr } = await server.ask("purge");
	assert.equal(code, 1);
	assert.deepEqual(await sequences(server), ["0", "1", "2", "3"]);
	assert.match(stderr, /192\.0\.2\.2\.json is damaged.*nothing was removed/);
});

test("invariant 5: a mirror of another history proves nothing", async () => {
	await using server = await aged(100);
	await record(server, "192.0.2.1", 9, 2);
	assert.match((await server.ask("purge")).stderr, /stands in timeline 2, this server in 1/);
	assert.equal((await sequences(server)).length, 4);
});

test("purge removes redo log archives only", async () => {
	await using server = await aged(100);
	const others = ["redo-x-seq9.log", "notes.txt", "redo-20261123.143054.085-seq9.log.bak"];
	for (const name of others) {
		await writeFile(join(archive(server), name), "");
		await age(join(archive(server), name), 100);
	}
	const outside = server.path("conf/outside");
	await writeFile(outside, "");
	const link = "redo-20261123.143054.085-seq9.log";
	await symlink(outside, join(archive(server), link));
	await mkdir(join(archive(server), "redo-20261123.143054.085-seq8.log"));
	assert.equal((await server.ask("purge")).code, 0);
	const left = ["redo-20261123.143054.085-seq8.log", link, ...others];
	assert.deepEqual((await readdir(archive(server))).toSorted(), left.toSorted());
	assert.equal(await readFile(outside, "utf8"), "");
});

test("purge without an archive directory has nothing to do", async () => {
	await using server = await LiveServer.make();
	await rm(archive(server), { recursive: true });
	assert.deepEqual(await server.ask("purge"), { code: 0, stdout: "", stderr: "" });
});
