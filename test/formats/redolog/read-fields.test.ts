import assert from "node:assert/strict";
import { test } from "node:test";
import { bytesSource } from "../../../src/formats/redolog/cursor.ts";
import { readFields } from "../../../src/formats/redolog/read-fields.ts";
import { LogWalk } from "../../../src/formats/redolog/walker.ts";
import * as build from "./build.ts";
import { sample } from "./samples.ts";

function field(bytes: Buffer, name: string, key: string) {
	const source = bytesSource(bytes);
	for (const record of new LogWalk(source))
		if (record.name === name) return readFields(source, record)[key];
	throw new Error(`no ${name}`);
}

test("the fields of a record are told by name", () => {
	const { bytes } = sample("odd-ops/redo.log");
	assert.equal(field(bytes, "CreateMessage", "id"), 320);
	assert.equal(field(bytes, "CreateTag", "id"), 64);
	assert.deepEqual(field(bytes, "DeleteItem", "ids"), [{ id: 257 }, { id: 258 }]);
	assert.equal(field(bytes, "CreateLink", "id"), 391);
	assert.equal(field(bytes, "CreateFileSharedWithMe", "id"), 341);
	assert.deepEqual(field(bytes, "SetDisableActiveSync", "folder"), 2);
});

test("all records of the samples have their fields told", () => {
	for (const name of ["odd-ops/redo.log", "older-records/redo.log", "main/redo.log"]) {
		const source = bytesSource(sample(name).bytes);
		for (const record of new LogWalk(source))
			assert.doesNotThrow(() => JSON.stringify(readFields(source, record)), record.name);
	}
});

test("a very long string is told by its beginning", () => {
	const bytes = Buffer.concat([
		build.header(),
		build.setConfig({ counter: 1 }, "x".repeat(1_000_000)),
		build.commit({ opcode: 46, counter: 1 }),
	]);
	assert.equal(String(field(bytes, "SetConfig", "section")).length, 4096);
});
