import assert from "node:assert/strict";
import { test } from "node:test";
import { pino } from "pino";
import type { LdapLook } from "../../../src/formats/ldap/wire.ts";
import type { LdapSnapshot } from "../../../src/formats/state.ts";
import { LdapStatus } from "../../../src/loops/ldap/ldap-status.ts";

const log = { serverId: "s", sequence: 3, createTime: 1, timeline: 0 };
const mark = (id: number) => ({ transactionIds: { mdb: id }, sources: { mdb: "1" }, files: "" });
const look = (id: number, offset: number, sequence = 3) =>
	({ ...mark(id), coverage: { ...log, sequence, offset } }) as unknown as LdapLook;
const copy = (id: number, offset: number) =>
	({ ...mark(id), id: "x", coverage: { ...log, offset } }) as unknown as LdapSnapshot;

function using(id: number, offset: number): LdapStatus {
	const status = new LdapStatus("192.0.2.1", pino({ level: "silent" }));
	status.setInstalled(copy(id, offset));
	return status;
}
const covers = (status: LdapStatus) => status.snapshot().coverage?.offset;

test("LDAP first: a directory that has not changed moves the coverage on, one that has does not", () => {
	const status = using(7, 1000);
	status.heard(look(7, 2000));
	assert.equal(covers(status), 2000);
	status.heard(look(8, 3000));
	assert.equal(covers(status), 2000);
	status.heard(look(8, 600, 4));
	assert.equal(covers(status), 2000);
	status.setInstalled(copy(8, 1500));
	assert.equal(covers(status), 2000, "taken before the last look");
});

test("LDAP first: of a live log that was cut nothing is covered that came in place of its end", () => {
	const status = using(7, 1000);
	status.heard(look(7, 9000));
	// A crash took the end, and an account came before the log was as long again.
	status.heard(look(8, 5000));
	assert.equal(covers(status), undefined);
	status.setInstalled(copy(8, 5200));
	assert.equal(covers(status), 5200);
});

test("LDAP first: a cut of the live log with an unchanged directory covers what is there", () => {
	const status = using(7, 1000);
	status.heard(look(7, 9000));
	status.heard(look(7, 5000));
	assert.equal(covers(status), 5000);
});
