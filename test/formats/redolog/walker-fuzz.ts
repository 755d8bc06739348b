import assert from "node:assert/strict";
import { bytesSource } from "../../../src/formats/redolog/cursor.ts";
import { operations } from "../../../src/formats/redolog/layouts.ts";
import { readFields } from "../../../src/formats/redolog/read-fields.ts";
import { LogWalk } from "../../../src/formats/redolog/walker.ts";
import * as build from "./build.ts";
import { samples } from "./samples.ts";

const opcodes = [...operations].filter(([, { layouts }]) => layouts.length > 0);

/**
 * One case of the fuzz test, the same for the same seed: a log of arbitrary or real records, damaged
 * in one of several ways, is walked. Throws an AssertionError where the walk does what it must not.
 */
export function fuzzWalk(seed: number): void {
	const draw = build.drawFrom(seed);
	const bytes = damage(draw, draw(4) === 0 ? partOfSample(draw) : arbitraryLog(draw));
	const to = draw(3) === 0 ? draw(bytes.length + 1) : bytes.length;
	const inner = bytesSource(bytes);
	let fetched = 0;
	const walk = new LogWalk(
		{
			read(target, offset) {
				assert.ok(
					offset >= 0 && offset + target.length <= Math.max(to, 0),
					"reads what is not there",
				);
				fetched += target.length;
				return inner.read(target, offset);
			},
		},
		{ from: 0, to, window: 1 + draw(64 * 1024) },
	);
	let offset = 0;
	for (const record of walk) {
		assert.equal(record.offset, offset);
		assert.ok(record.length >= 42);
		offset += record.length;
		assert.ok(offset <= to);
		if (record.body !== undefined)
			assert.ok(
				record.body.offset >= record.offset && record.body.offset + record.body.length <= offset,
			);
		if (draw(50) === 0) readFields(inner, record);
	}
	assert.equal(walk.end?.offset, offset);
	assert.ok(walk.end?.kind !== "clean" || offset === to);
	assert.ok(fetched <= 4 * bytes.length + 64 * 1024 * 20, "reads the same bytes again and again");
}

function arbitraryLog(draw: build.Draw): Buffer {
	return Buffer.concat(
		Array.from({ length: 1 + draw(8) }, () => {
			const [opcode = 3, operation] = opcodes[draw(opcodes.length)] ?? [];
			const layout = draw(operation?.layouts.length ?? 1);
			return build.anyRecord(draw, opcode, draw(3) === 0 ? draw(43) : 42, layout);
		}),
	);
}

function partOfSample(draw: build.Draw): Buffer {
	const { bytes } = samples[draw(samples.length)] as (typeof samples)[number];
	const start = draw(2) === 0 ? 512 : bytes.indexOf("ZMREDO", 512 + draw(bytes.length));
	return Buffer.from(bytes.subarray(Math.max(start, 512), Math.max(start, 512) + draw(4000)));
}

const lengths = [-0x80000000, -2, -1, 0, 1, 0x7fffffff, 0x02000000, 0x02000001, 65_536, 1_000_001];

function damage(draw: build.Draw, bytes: Buffer): Buffer {
	if (bytes.length < 8) return bytes;
	switch (draw(6)) {
		case 0:
			return bytes;
		case 1:
			return bytes.subarray(0, draw(bytes.length));
		case 2:
			for (let n = 1 + draw(4); n > 0; n--) {
				const at = draw(bytes.length);
				bytes[at] = (bytes[at] ?? 0) ^ (1 << draw(8));
			}
			return bytes;
		case 3:
			bytes.writeInt32BE(lengths[draw(lengths.length)] ?? 0, draw(bytes.length - 4));
			return bytes;
		case 4: {
			const at = draw(bytes.length);
			return Buffer.concat([bytes.subarray(0, at), bytes.subarray(draw(bytes.length))]);
		}
		default: {
			const at = draw(bytes.length);
			for (let i = at; i < Math.min(at + draw(30), bytes.length); i++) bytes[i] = draw(256);
			return bytes;
		}
	}
}
