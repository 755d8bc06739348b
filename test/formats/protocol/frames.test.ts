import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { foreignWords } from "../../../src/formats/foreign-words.ts";
import {
	encodeFrame,
	FrameDecoder,
	formatGreeting,
	GreetingReader,
	maxPayload,
} from "../../../src/formats/protocol/frames.ts";
import {
	decodeFromLive,
	decodeFromMirror,
	encodeFromLive,
	encodeFromMirror,
	type FromLive,
	type FromMirror,
} from "../../../src/formats/protocol/messages.ts";
import { peerHint } from "../../../src/formats/protocol/peer-hints.ts";

const words = fc.string({ unit: "binary" }).map((text) => foreignWords(text));
const bytes = (limit: number) => fc.uint8Array({ maxLength: limit }).map((b) => Buffer.from(b));

const record = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> =>
	fc.record<T>(model, { noNullPrototype: true });

/** Cuts a buffer at the given places. */
function cut(whole: Buffer, places: readonly number[]): Buffer[] {
	const at = [...new Set(places.map((place) => place % (whole.length + 1)))].sort((a, b) => a - b);
	return [...at, whole.length].map((end, i) => whole.subarray(at[i - 1] ?? 0, end));
}

test("frames come out as they went in, however the bytes are cut on the way", () => {
	const frames = fc.array(record({ type: fc.nat(255), payload: bytes(3000) }));
	fc.assert(
		fc.property(frames, fc.array(fc.nat()), (sent, places) => {
			const whole = Buffer.concat(sent.map(({ type, payload }) => encodeFrame(type, payload)));
			const decoder = new FrameDecoder();
			const got = cut(whole, places).flatMap((piece) => [...decoder.push(piece)]);
			assert.deepEqual(got, sent);
		}),
	);
});

test("a length that no frame of ours has is an error, not a wait for gigabytes", () => {
	const head = Buffer.from([4, 0xff, 0xff, 0xff, 0xff]);
	assert.throws(() => [...new FrameDecoder().push(head)], /not of this protocol/);
	assert.throws(() => encodeFrame(1, Buffer.alloc(maxPayload + 1)), RangeError);
});

const count = fc.nat(Number.MAX_SAFE_INTEGER);
const header = fc.uint8Array({ minLength: 512, maxLength: 512 }).map((b) => Buffer.from(b));
const digest = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((b) => Buffer.from(b));
const identity = record({
	serverId: words,
	sequence: count,
	createTime: count,
	timeline: count,
});
const place = record({
	serverId: words,
	sequence: count,
	createTime: count,
	timeline: count,
	offset: count,
});

const fromLive: fc.Arbitrary<FromLive> = fc.oneof(
	record({ kind: fc.constant("agreed" as const), offset: count }),
	record({
		kind: fc.constant("differs" as const),
		from: count,
		size: count,
		bytes: bytes(2000),
	}),
	record({ kind: fc.constant("file" as const), identity, header }),
	record({ kind: fc.constant("data" as const), offset: count, bytes: bytes(2000) }),
	record({ kind: fc.constant("header" as const), header }),
	record({ kind: fc.constant("truncate" as const), offset: count }),
	record({
		kind: fc.constant("end" as const),
		size: count,
		digest,
		archiveName: words,
		header,
	}),
	record({
		kind: fc.constant("heartbeat" as const),
		position: record({ sequence: count, offset: count }),
		clock: count,
	}),
	record({
		kind: fc.constant("refusal" as const),
		code: words,
		message: words,
		hint: fc.string(),
	}),
);

const fromMirror: fc.Arbitrary<FromMirror> = fc.oneof(
	record({
		kind: fc.constant("resume" as const),
		links: fc.array(digest),
		digest,
		previousHeader: fc.oneof(header, fc.constant(Buffer.alloc(0))),
	}),
	record({
		kind: fc.constant("progress" as const),
		flushed: fc.option(place, { nil: undefined }),
		replayed: fc.option(place, { nil: undefined }),
	}),
);

function only<T>(items: Iterable<T>): T {
	const [first, ...more] = items;
	assert.ok(first !== undefined && more.length === 0);
	return first;
}

test("every message of the live side is read as it was written", () => {
	fc.assert(
		fc.property(fromLive, (message) => {
			const frame = only(new FrameDecoder().push(encodeFromLive(message)));
			const hint = message.kind === "refusal" ? { hint: peerHint(message.code) } : {};
			assert.deepEqual(decodeFromLive(frame), { ...message, ...hint });
		}),
	);
});

test("a refusal comes in plain words of bounded length, and what to do is told by us, not by them", () => {
	const said = `\u001b[2J\u202e${"x\n".repeat(200_000)}`;
	const refusal = {
		kind: "refusal",
		code: "archive-gone",
		message: said,
		hint: "rm -rf /",
	} as const;
	const message = decodeFromLive(only(new FrameDecoder().push(encodeFromLive(refusal))));
	assert.ok(message.kind === "refusal");
	assert.ok(message.message.length < 1100);
	assert.doesNotMatch(message.message, /[\p{Cc}\p{Cf}]/u);
	assert.match(message.hint, /docs\/runbooks\.md, gap/);
});

test("every message of the mirror is read as it was written", () => {
	fc.assert(
		fc.property(fromMirror, (message) => {
			const frame = only(new FrameDecoder().push(encodeFromMirror(message)));
			assert.deepEqual(decodeFromMirror(frame), message);
		}),
	);
});

test("a frame of anything else is an error and never a message", () => {
	fc.assert(
		fc.property(fc.nat(255), bytes(200), (type, payload) => {
			for (const decode of [decodeFromLive, decodeFromMirror]) {
				try {
					assert.equal(typeof decode({ type, payload }).kind, "string");
				} catch (error) {
					assert.ok(error instanceof Error);
				}
			}
		}),
		{ numRuns: 1000 },
	);
});

test("the greeting is found behind whatever a login shell prints, however it is cut", () => {
	const noise = fc.string().filter((text) => !text.includes("live-syncd-stream"));
	const end = fc.constantFrom("", "\n");
	fc.assert(
		fc.property(noise, end, bytes(50), fc.array(fc.nat()), (before, lineEnd, after, places) => {
			const whole = Buffer.concat([Buffer.from(before + lineEnd + formatGreeting("zstd")), after]);
			const reader = new GreetingReader();
			const rest: Buffer[] = [];
			let found: ReturnType<GreetingReader["push"]>;
			for (const piece of cut(whole, places)) {
				if (found !== undefined) rest.push(piece);
				else found = reader.push(piece);
			}
			assert.equal(found?.compression, "zstd");
			assert.equal(found.noise, foreignWords(before));
			assert.deepEqual(Buffer.concat([found?.rest ?? Buffer.alloc(0), ...rest]), after);
		}),
	);
});

test("noise that comes byte by byte takes no more time than it has bytes", () => {
	const reader = new GreetingReader();
	const greeting = Buffer.from(formatGreeting("none"));
	for (let i = 0; i < 65_000; i++) assert.equal(reader.push(Buffer.from("x")), undefined);
	const pieces = [...greeting].map((byte) => reader.push(Buffer.from([byte])));
	assert.equal(pieces.at(-1)?.compression, "none");
});

test("a side that never greets is told by what it said instead", () => {
	const reader = new GreetingReader();
	assert.equal(reader.push(Buffer.from("rsync  version 3.2.7\n")), undefined);
	assert.match(reader.complaint(), /said: rsync {2}version/);
	assert.throws(() => reader.push(Buffer.alloc(70_000, "x")), /did not begin the stream/);
});
