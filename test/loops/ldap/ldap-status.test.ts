import assert from "node:assert/strict";
import { test } from "node:test";
import { pino } from "pino";
import type { Coverage, LdapLook } from "../../../src/formats/ldap/wire.ts";
import { LdapStatus } from "../../../src/loops/ldap/ldap-status.ts";

const at = (offset: number, timeline = 1): Coverage => ({
	serverId: "id",
	sequence: 3,
	createTime: 5,
	timeline,
	offset,
});
const mark = (id: number) => ({
	transactionIds: { "mdb/db": id },
	sources: { "mdb/db": "1.2.boot" },
	files: "digest",
});
const look = (id: number, coverage: Coverage): LdapLook => ({
	kind: "look",
	...mark(id),
	coverage,
	clock: 1000 + coverage.offset,
	heard: 0,
});
const copy = (id: number, coverage: Coverage) => ({
	...mark(id),
	id: `copy ${id}`,
	coverage,
	takenAt: 0,
	entries: 2,
});
const round = { endedAt: 0, tookMs: 0, bytesReceived: 0, bytesSent: 0 };
const make = () => new LdapStatus("10.0.0.1", pino({ level: "silent" }));

test("invariant 4: the coverage moves on while the live directory is that of the copy in use, and no further", () => {
	const status = make();
	status.heard(look(7, at(100)));
	assert.equal(status.snapshot().coverage, undefined, "nothing is in use yet");
	status.setInstalled(copy(7, at(90)));
	assert.deepEqual(status.snapshot().coverage, at(90));
	status.heard(look(7, at(200)));
	assert.deepEqual(status.snapshot().coverage, at(200));
	status.heard(look(8, at(300)));
	assert.deepEqual(
		status.snapshot().coverage,
		at(200),
		"the account of what follows may be missing",
	);
	// What was fetched before the position that is known already takes nothing back.
	status.roundDone(copy(8, at(150)), round);
	assert.deepEqual(status.snapshot().coverage, at(200));
	status.roundDone(copy(1, at(10, 2)), round);
	assert.deepEqual(status.snapshot().coverage, at(10, 2), "another history begins anew");
});

test("LDAP first: what a copy covered is not said of another one that is found in use in its place", () => {
	const status = make();
	status.setInstalled(copy(8, at(500)));
	status.heard(look(8, at(900)));
	status.setInstalled(copy(8, at(500)));
	assert.deepEqual(status.snapshot().coverage, at(900), "the same one, at another connection");
	status.setInstalled(copy(7, at(100)));
	assert.deepEqual(status.snapshot().coverage, at(100));
	status.setInstalled(undefined);
	assert.equal(status.snapshot().coverage, undefined, "it was written to here");
});

test("invariant 9: a change is dated when it was first seen, not when it was last heard of", () => {
	const status = make();
	for (const offset of [100, 200]) status.heard(look(7, at(offset)));
	assert.deepEqual(status.snapshot().changeSeen, { transactionIds: { "mdb/db": 7 }, at: 1100 });
	status.heard(look(8, at(300)));
	assert.deepEqual(status.snapshot().changeSeen, { transactionIds: { "mdb/db": 8 }, at: 1300 });
});

test("LDAP first: of a live log that was cut nothing is covered that came in place of its end", () => {
	const status = make();
	status.setInstalled(copy(7, at(1000)));
	status.heard(look(7, at(9000)));
	// A crash took the end, and an account came before the log was as long again.
	status.heard(look(8, at(5000)));
	assert.equal(status.snapshot().coverage, undefined);
	status.roundDone(copy(8, at(5200)), round);
	assert.deepEqual(status.snapshot().coverage, at(5200));
});

test("LDAP first: a cut of the live log with an unchanged directory covers what is there", () => {
	const status = make();
	status.setInstalled(copy(7, at(1000)));
	status.heard(look(7, at(9000)));
	status.heard(look(7, at(5000)));
	assert.deepEqual(status.snapshot().coverage, at(5000));
});
