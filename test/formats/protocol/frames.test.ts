import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
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
	serverId: fc.string(),
	sequence: count,
	createTime: count,
	timeline: count,
});
const place = record({
	serverId: fc.string(),
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
		archiveName: fc.string(),
		header,
	}),
	record({
		kind: fc.constant("heartbeat" as const),
		position: record({ sequence: count, offset: count }),
		clock: count,
	}),
	record({
		kind: fc.constant("refusal" as const),
		code: fc.string(),
		message: fc.string(),
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
			assert.deepEqual(decodeFromLive(frame), message);
		}),
	);
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
	fc.assert(
		fc.property(noise, bytes(50), fc.array(fc.nat()), (before, after, places) => {
			const line = before === "" ? "" : `${before}\n`;
			const whole = Buffer.concat([Buffer.from(line + formatGreeting("zstd")), after]);
			const reader = new GreetingReader();
			const rest: Buffer[] = [];
			let found: ReturnType<GreetingReader["push"]>;
			for (const piece of cut(whole, places)) {
				if (found !== undefined) rest.push(piece);
				else found = reader.push(piece);
			}
			assert.equal(found?.compression, "zstd");
			assert.deepEqual(Buffer.concat([found?.rest ?? Buffer.alloc(0), ...rest]), after);
		}),
	);
});

test("a side that never greets is told by what it said instead", () => {
	const reader = new GreetingReader();
	assert.equal(reader.push(Buffer.from("rsync  version 3.2.7\n")), undefined);
	assert.match(reader.complaint(), /said: rsync {2}version/);
	assert.throws(() => reader.push(Buffer.alloc(70_000, "x")), /did not begin the stream/);
});
