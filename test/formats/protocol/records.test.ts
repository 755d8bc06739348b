import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
	formatMirrorRecord,
	isMirrorRecordName,
	type MirrorRecord,
	mirrorRecordName,
	parseMirrorRecord,
} from "../../../src/formats/protocol/mirror-record.ts";
import {
	formatZimbraSettings,
	parseZimbraSettings,
	readRedoAttributes,
} from "../../../src/formats/protocol/zimbra-settings.ts";
import { formatRole, parseRole, type Role } from "../../../src/formats/role.ts";

const at = { wall: 1, monotonic: 2.5, bootId: "b" };
const replayed = { serverId: "s", sequence: 3, createTime: 4, timeline: 1, offset: 512 };
const record: MirrorRecord = { version: 1, mirror: "192.0.2.7", replayed, at };

test("a mirror's record is read back as it was written", () => {
	for (const each of [record, { ...record, replayed: null }]) {
		assert.deepEqual(parseMirrorRecord(formatMirrorRecord(each)), each);
	}
});

test("a record that was cut, at any byte, is damaged and no other record", () => {
	const text = formatMirrorRecord(record).trim();
	for (let length = 0; length < text.length; length++) {
		assert.equal(parseMirrorRecord(text.slice(0, length)), undefined);
	}
});

test("a record without its position is damaged, not a mirror that needs nothing", () => {
	for (const wrong of [
		undefined,
		{},
		{ ...replayed, sequence: -1 },
		{ ...replayed, offset: "9" },
	]) {
		assert.equal(parseMirrorRecord(JSON.stringify({ ...record, replayed: wrong })), undefined);
	}
});

test("each mirror has a file of its own, and half-written ones are none", () => {
	assert.equal(mirrorRecordName("2001:DB8::1"), "2001:db8::1.json");
	assert.ok(isMirrorRecordName(mirrorRecordName("192.0.2.7")));
	assert.ok(!isMirrorRecordName("192.0.2.7.json.4711.tmp"));
});

const intent = { process: { pid: 4711, startTime: 12, bootId: "b" }, at: 6 };
const role: Role = { version: 1, role: "mirror", timeline: 2, since: 5 };

test("a role is read back as it was written", () => {
	const stopped = { at: 7, replayed: { sequence: 17, offset: 512 } };
	for (const each of [
		role,
		{ ...role, local: "192.0.2.2", intent },
		{ ...role, intent },
		{ ...role, stopped },
		{ ...role, intent, stopped: { at: 7 } },
	])
		assert.deepEqual(parseRole(formatRole(each)), each);
});

test("a role with an address that is none is a role without it: which history it is counts more", () => {
	assert.deepEqual(parseRole(JSON.stringify({ ...role, local: "server2" })), role);
});

test("whatever else the file holds is no role", () => {
	for (const wrong of [
		{ role: "master" },
		{ timeline: 1.5 },
		{ version: 2 },
		{ intent: {} },
		{ stopped: { at: 7, replayed: 3 } },
	]) {
		assert.equal(parseRole(JSON.stringify({ ...role, ...wrong })), undefined);
	}
	fc.assert(fc.property(fc.string(), (text) => assert.equal(parseRole(text), undefined)));
});

test("the redo log settings are read from what zmprov prints", () => {
	const output = [
		"# name mail.example.net",
		"zimbraRedoLogDeleteOnRollover: FALSE",
		"zimbraRedoLogEnabled: TRUE",
		"zimbraRedoLogCrashRecoveryLookbackSec: 10",
		"zimbraRedoLogLogPath: redolog/redo.log",
		"zimbraRedoLogArchiveDir: /data/archive",
		"",
	].join("\n");
	const settings = {
		enabled: true,
		deleteOnRollover: false,
		crashRecoveryLookbackSeconds: 10,
		logPath: "redolog/redo.log",
		archiveDirectory: "/data/archive",
	};
	assert.deepEqual(readRedoAttributes(output), settings);
	for (const otherStores of [[], [{ name: "mbox2.example.net", services: ["mailbox"] }]]) {
		const answer = { redo: settings, otherStores };
		assert.deepEqual(parseZimbraSettings(formatZimbraSettings(answer)), answer);
	}
});

test("a setting that zmprov does not print is unknown", () => {
	const unknown = {
		enabled: undefined,
		deleteOnRollover: undefined,
		crashRecoveryLookbackSeconds: undefined,
		logPath: undefined,
		archiveDirectory: undefined,
	};
	assert.deepEqual(readRedoAttributes("ERROR: service.FAILURE\n"), unknown);
	const answer = { redo: unknown, otherStores: [] };
	assert.deepEqual(parseZimbraSettings(formatZimbraSettings(answer)), answer);
	assert.equal(parseZimbraSettings("rsync version"), undefined);
	assert.equal(parseZimbraSettings('{"settings":{}}'), undefined);
});
