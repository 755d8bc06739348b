import assert from "node:assert/strict";
import { test } from "node:test";
import { bytesSource } from "../../../src/formats/redolog/cursor.ts";
import { findResume } from "../../../src/formats/redolog/resume.ts";
import * as build from "./build.ts";

const later = [
	build.setConfig({ counter: 2 }, "a"),
	build.commit({ opcode: 46, counter: 2 }),
	build.setConfig({ counter: 3 }, "b"),
];

function resume(foreign: Buffer, ...rest: Buffer[]) {
	const bytes = Buffer.concat([build.header(), foreign, ...rest]);
	return findResume(bytesSource(bytes), 513, bytes.length);
}

test("behind a record of unknown length the next boundary is found", () => {
	const foreign = build.foreign({ opcode: 96, counter: 1 }, 100);
	assert.equal(resume(foreign, ...later), 512 + foreign.length);
});

test("a mark inside the unknown record that leads nowhere is passed by", () => {
	const foreign = Buffer.concat([
		build.foreign({ opcode: 96, counter: 1 }, 10),
		Buffer.from("ZMREDO"),
		build.commit({ opcode: 3, counter: 1 }).subarray(0, 30),
	]);
	assert.equal(resume(foreign, ...later), 512 + foreign.length);
});

test("records that lead to another of unknown opcode count", () => {
	const foreign = build.foreign({ opcode: 96, counter: 1 }, 10);
	const second = build.foreign({ opcode: 97, counter: 9 }, 10);
	assert.equal(resume(foreign, ...later, second, ...later), 512 + foreign.length);
});

test("where nothing leads on there is no boundary", () => {
	const foreign = build.foreign({ opcode: 96, counter: 1 }, 100);
	assert.equal(resume(foreign), undefined);
	assert.equal(resume(foreign, Buffer.from("ZMRE")), undefined);
	assert.equal(resume(foreign, Buffer.from("ZMREDO rubbish")), undefined);
	assert.equal(resume(foreign, later[0]?.subarray(0, 50) ?? Buffer.alloc(0)), undefined);
});

test("a body of many fake records is searched in linear time", () => {
	const fakes = Buffer.concat(Array(20_000).fill(build.commit({ opcode: 20, counter: 5 })));
	const foreign = build.foreign({ opcode: 96, counter: 1 }, 100);
	assertReadOnce(Buffer.concat([foreign, fakes, Buffer.from("the end")]));
});

test("a body of bare marks costs no walk at each of them", () => {
	const foreign = build.foreign({ opcode: 96, counter: 1 }, 10);
	assertReadOnce(Buffer.concat([foreign, Buffer.from("ZMREDO".repeat(20_000))]));
});

/** The boundary behind the bytes is found, and that reads them a few times, not once for each mark in them. */
function assertReadOnce(foreign: Buffer): void {
	const bytes = Buffer.concat([foreign, ...later]);
	const source = bytesSource(bytes);
	let read = 0;
	const counted = {
		read(target: Uint8Array, offset: number) {
			const count = source.read(target, offset);
			read += count;
			return count;
		},
	};
	assert.equal(findResume(counted, 1, bytes.length), foreign.length);
	assert.ok(read < 4 * bytes.length, `${read} bytes read of ${bytes.length}`);
}
