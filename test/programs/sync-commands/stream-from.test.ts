import assert from "node:assert/strict";
import { readFile, utimes } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { encodeFromMirror } from "../../../src/formats/protocol/messages.ts";
import { parseMirrorRecord } from "../../../src/formats/protocol/mirror-record.ts";
import { formatStreamRequest } from "../../../src/formats/protocol/request.ts";
import { headerSize, parseHeader } from "../../../src/formats/redolog/header.ts";
import { until } from "../../pair/until.ts";
import { LiveServer } from "./live-server.ts";

const name = "redo-20261123.143054.085-seq0.log";

/** A stream that begins with the oldest archive, as a mirror asks for it that has nothing yet. */
async function request(server: LiveServer) {
	const bytes = await readFile(server.path("redolog/archive", name));
	const header = parseHeader(bytes.subarray(0, headerSize));
	assert.ok(header);
	const { serverId, createTime } = header;
	const position = { sequence: 0, offset: 0, serverId, createTime: 0, timeline: 1 };
	const stream = { position, mirror: "192.0.2.7", compression: "none" } as const;
	return { text: formatStreamRequest(stream), replayed: { ...position, createTime } };
}

const resume = encodeFromMirror({
	kind: "resume",
	links: [],
	digest: Buffer.alloc(32),
	previousHeader: Buffer.alloc(0),
});

for (const form of ["the command", "standard input"] as const) {
	test(`invariant 5: a mirror that streams, asked for in ${form}, is known, and so is what it has replayed`, async () => {
		// It does not say again and again that it lives.
		await using server = await LiveServer.make({ link_timeout: "5m" });
		const { text, replayed } = await request(server);
		const path = join(server.base, "status/mirrors/192.0.2.7.json");
		const record = async () => parseMirrorRecord(await readFile(path, "utf8").catch(() => ""));
		const child = server.start(form === "the command" ? text : "/srv/sync_commands");
		let received = 0;
		child.stdout.on("data", (piece: Buffer) => {
			received += piece.length;
		});
		// In one piece: what follows the line is the mirror's first frame.
		child.stdin.write(
			form === "the command" ? resume : Buffer.concat([Buffer.from(`${text}\n`), resume]),
		);
		await until("it is known", async () => (await record())?.replayed === null);
		const archived = await readFile(server.path("redolog/archive", name));
		await until("the archive has come", () => received > archived.length);

		const old = new Date(Date.now() - 100 * 3_600_000);
		for (const each of [0, 1]) {
			const files = [name, "redo-20261123.143054.625-seq1.log"];
			await utimes(server.path("redolog/archive", files[each] ?? ""), old, old);
		}
		assert.match((await server.ask("purge")).stderr, /192\.0\.2\.7 has not replayed anything yet/);
		const position = { ...replayed, sequence: 1, offset: 600 };
		child.stdin.write(
			encodeFromMirror({ kind: "progress", flushed: undefined, replayed: position }),
		);
		await until("its position is kept", async () => (await record())?.replayed?.sequence === 1);
		assert.equal((await server.ask("purge")).code, 0);
		await assert.rejects(readFile(server.path("redolog/archive", name)), /ENOENT/);
		await readFile(server.path("redolog/archive/redo-20261123.143054.625-seq1.log"));

		const exited = new Promise((resolve) => child.once("exit", resolve));
		child.stdin.end();
		assert.equal(await exited, 0);
		assert.match((await server.served()).at(-1) ?? "", /stream ended .*mirror=192\.0\.2\.7/);
	});
}
