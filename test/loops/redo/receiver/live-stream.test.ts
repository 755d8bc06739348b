import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { type Duplex, duplexPair } from "node:stream";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { createZstdCompress, constants as zlib } from "node:zlib";
import { pino } from "pino";
import { type Compression, formatGreeting } from "../../../../src/formats/protocol/frames.ts";
import { encodeFromLive } from "../../../../src/formats/protocol/messages.ts";
import { type LiveStream, speakOver } from "../../../../src/loops/redo/receiver/live-stream.ts";

const linkTimeoutMs = 1000;
const settings = { connect_timeout: 20_000, link_timeout: linkTimeoutMs };
const nothing = Buffer.alloc(0);
const resume = {
	kind: "resume",
	links: [],
	digest: Buffer.alloc(32),
	previousHeader: nothing,
} as const;

/** The mirror's end, and the channel on which the test is the live server. */
function openStream(): { stream: LiveStream; live: Duplex } & AsyncDisposable {
	const [live, mirror] = duplexPair();
	live.resume().on("error", () => undefined);
	const log = pino({ level: "silent" });
	const stream = speakOver(mirror, resume, settings, log, new AbortController().signal);
	return { stream, live, [Symbol.asyncDispose]: () => stream[Symbol.asyncDispose]() };
}

/** Messages of log content, as each goes over the wire. */
async function onTheWire(compression: Compression, contents: Buffer[]): Promise<Buffer[]> {
	const messages = contents.map((bytes) => encodeFromLive({ kind: "data", offset: 512, bytes }));
	if (compression === "none") return messages;
	const zstd = createZstdCompress();
	let pieces: Buffer[] = [];
	zstd.on("data", (piece: Buffer) => void pieces.push(piece));
	const found: Buffer[] = [];
	for (const message of messages) {
		pieces = [];
		zstd.write(message);
		await new Promise<void>((resolve) => zstd.flush(zlib.ZSTD_e_flush, resolve));
		found.push(Buffer.concat(pieces));
	}
	return found;
}

for (const compression of ["none", "zstd"] as const) {
	test(`a slow line over which one message takes longer than link_timeout is not cut (${compression})`, async () => {
		await using pair = openStream();
		const { stream, live } = pair;
		const content = randomBytes(200_000);
		const [first, wire = nothing] = await onTheWire(compression, [Buffer.from("x"), content]);
		live.write(formatGreeting(compression));
		// Before its first message the live server's program has to start, and may take longer.
		live.write(first);
		await stream.next();
		const began = performance.now();
		const message = stream.next();
		const pieces = 20;
		const each = Math.ceil(wire.length / pieces);
		for (let at = 0; at < wire.length; at += each) {
			await sleep((3 * linkTimeoutMs) / pieces);
			live.write(wire.subarray(at, at + each));
		}
		const found = await message;
		assert.ok(found.kind === "data" && found.bytes.equals(content));
		assert.ok(performance.now() - began > 2 * linkTimeoutMs, "it was no slow line");
	});
}

test("a line that falls silent in the middle of a message is cut after link_timeout", async () => {
	await using pair = openStream();
	const { stream, live } = pair;
	const [wire = nothing] = await onTheWire("none", [randomBytes(200_000)]);
	live.write(formatGreeting("none"));
	live.write(wire);
	await stream.next();
	const message = stream.next();
	live.write(wire.subarray(0, 100_000));
	const began = performance.now();
	await assert.rejects(message, /nothing was heard from the live server for 1 s/);
	assert.ok(performance.now() - began > linkTimeoutMs / 2, "it was given no time");
});
