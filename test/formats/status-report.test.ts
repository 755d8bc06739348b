import assert from "node:assert/strict";
import { test } from "node:test";
import type { LdapState, RedoState } from "../../src/formats/state.ts";
import { ldapAges, reportStatus, statusCode } from "../../src/formats/status-report.ts";

const at = { wall: 0, monotonic: 0, bootId: "b" };
const redo: RedoState = {
	version: 1,
	pid: 7,
	at,
	phase: "streaming",
	peer: "10.0.0.1",
	flushed: { sequence: 3, offset: 100 },
	replayed: { sequence: 2, offset: 50 },
	live: { position: { sequence: 3, offset: 100 }, clock: 0 },
	heardAt: at,
	flushLagBytes: 0,
	flushLagSeconds: 0,
	replay: {
		phase: "idle",
		runs: 1,
		operations: 5,
		failedOperations: 0,
		operationsAtRisk: 0,
		lagSeconds: 61,
	},
	problems: [],
};
const ldap: LdapState = {
	version: 1,
	pid: 8,
	at,
	phase: "watching",
	peer: "10.0.0.1",
	rounds: 1,
	problems: [],
};

const facts = (redoPid: number | undefined, ldapPid: number | undefined) => ({
	redo: { pid: redoPid, state: redo, ageMs: 300 },
	ldap: { pid: ldapPid, state: ldap, ageMs: 300 },
	heardAgeMs: 400,
	ldapHeardAgeMs: 700,
	ldapAgesMs: {},
});

test("exit codes are those of the 2011 script: 0 both loops, 1 one of them, 3 none", () => {
	assert.equal(statusCode(facts(7, 8)), 0);
	assert.equal(statusCode(facts(7, undefined)), 1);
	assert.equal(statusCode(facts(undefined, 8)), 1);
	assert.equal(statusCode(facts(undefined, undefined)), 3);
});

test("the first two lines are those of the 2011 script", () => {
	const both = reportStatus(facts(7, 8)).split("\n");
	assert.deepEqual(both.slice(0, 2), ["redo log sync process OK", "ldap sync process OK"]);
	const none = reportStatus(facts(undefined, undefined)).split("\n");
	assert.deepEqual(none.slice(0, 2), ["redolog sync process stopped", "ldap sync process stopped"]);
});

test("invariant 9: what is not known is said as unknown, what is old is said to be old", () => {
	const { replay, ...rest } = redo;
	const { version, pid, phase, peer, problems } = rest;
	const blind: RedoState = { version, pid, at, phase, peer, problems, replay };
	const report = reportStatus({
		redo: { pid: 7, state: blind, ageMs: 300 },
		ldap: { pid: undefined, state: undefined, ageMs: undefined },
		heardAgeMs: undefined,
		ldapHeardAgeMs: undefined,
		ldapAgesMs: {},
	});
	assert.match(report, /live end {2}unknown, the live server was not heard of/);
	assert.match(report, /flushed {3}unknown, lag unknown/);
	const stale = { ...facts(7, 8), redo: { pid: 7, state: redo, ageMs: 60_000 } };
	assert.match(reportStatus(stale), /as it was 60 s ago: the loop has published nothing since/);
	assert.match(reportStatus(stale), /^CRITICAL redo, since .*: the loop runs, and has published/m);
	assert.doesNotMatch(reportStatus(facts(7, 8)), /CRITICAL|warning|unknown:/);
});

test("invariant 9: a loop that runs and of which nothing is known does not look healthy", () => {
	const nothing = { pid: 7, state: undefined, ageMs: undefined };
	const ofAnEarlierOne = { pid: 9, state: { ...ldap, pid: 8 }, ageMs: 300 };
	const report = reportStatus({
		redo: nothing,
		ldap: ofAnEarlierOne,
		heardAgeMs: undefined,
		ldapHeardAgeMs: undefined,
		ldapAgesMs: {},
	});
	for (const name of ["redo log ", "ldap     "]) {
		assert.match(report, new RegExp(`^${name} unknown: the loop has published nothing yet`, "m"));
	}
	assert.match(report, /^warning redo: it runs, and nothing is known of it/m);
	assert.match(report, /^warning ldap: it runs, and nothing is known of it/m);
	const ended = reportStatus({ ...facts(undefined, undefined), heardAgeMs: undefined });
	assert.match(ended, /redo log {2}streaming \(as it was when the loop ended\)/);
});

test("that the LDAP passwords of the two servers differ is said, and only where it is known", () => {
	const report = (passwordsDiffer: boolean | undefined) =>
		reportStatus({
			...facts(7, 8),
			ldap: { pid: 8, state: { ...ldap, passwordsDiffer }, ageMs: 1 },
		});
	assert.match(report(true), /the LDAP passwords in localconfig\.xml of the two servers differ/);
	for (const each of [false, undefined]) assert.doesNotMatch(report(each), /passwords/);
});

test("each problem stands there with its weight, its code and what to do", () => {
	const problems = [
		{ code: "archive-gone", message: "log 4 is gone", hint: "read on", since: 0, critical: true },
	];
	const report = reportStatus({
		...facts(7, 8),
		redo: { pid: 7, state: { ...redo, problems }, ageMs: 1 },
	});
	assert.match(
		report,
		/CRITICAL redo, since .*: log 4 is gone {2}\[archive-gone\]\n {2}try: read on/,
	);
});

const lines = (report: string, start: RegExp) => report.split("\n").filter((l) => start.test(l));
const server = (more: object) => ({ role: "mirror", since: 1000, ...more }) as const;

test("what a loop knew when it ended is not shown as if it were now: no lag, no run under way", () => {
	const busy: RedoState = { ...redo, replay: { ...redo.replay, phase: "running" } };
	const report = reportStatus({
		...facts(undefined, undefined),
		redo: { pid: undefined, state: busy, ageMs: 3 * 86_400_000 },
	});
	assert.match(report, /^redo log {2}streaming \(as it was when the loop ended\), 72\.0 h ago/m);
	assert.match(report, /^flushed {3}3:100, lag unknown$/m);
	assert.match(report, /^replayed {2}2:50, lag unknown$/m);
	assert.match(report, /^replay {4}ended, /m);
	assert.doesNotMatch(report, /lag 0/);
});

test("the role of the server comes first: live, mirror, stopped, or a mirror whose loops do not run", () => {
	const first = (more: object, redoPid?: number, ldapPid?: number) =>
		reportStatus({ ...facts(redoPid, ldapPid), server: server(more) }).split("\n")[3];
	assert.equal(first({}, 7, 8), "server    mirror, since 1970-01-01T00:00:01.000Z");
	assert.match(first({}) ?? "", /^server {4}mirror whose loops do not run: nothing is received/);
	assert.match(first({}, 7) ?? "", /^server {4}mirror whose LDAP loop does not run$/);
	assert.match(
		first({ mailboxd: 99 }) ?? "",
		/^server {4}this server is live: mailboxd runs here \(process 99\); it was a mirror, and was not/,
	);
	const stopped = /was a mirror, stopped at 1970-01-01T00:00:02\.000Z/;
	assert.match(first({ stoppedAt: 2000 }) ?? "", stopped);
	assert.match(first({ stoppedAt: 2000, mailboxd: 99 }) ?? "", stopped);
	assert.match(first({ role: "unknown", since: 2000 }) ?? "", stopped);
	assert.match(first({ role: "live" }) ?? "", /^server {4}live, since .*mailboxd does not run/);
});

test("the trouble that loops had is over where this server was stopped or made the live one, not where they died", () => {
	const problems = [
		{ code: "divergence", message: "own history", hint: "read on", since: 0, critical: true },
	];
	const report = (more: object) =>
		reportStatus({
			...facts(undefined, undefined),
			redo: { pid: undefined, state: { ...redo, problems }, ageMs: 1 },
			server: server(more),
		});
	assert.match(report({}), /^CRITICAL redo, .*own history/m);
	assert.match(report({ mailboxd: 99 }), /^CRITICAL redo, .*own history/m, "started without stop");
	assert.doesNotMatch(report({ mailboxd: 99, stoppedAt: 5 }), /CRITICAL/);
	assert.doesNotMatch(report({ mailboxd: 99, role: "live" }), /CRITICAL/);
	assert.doesNotMatch(report({ stoppedAt: 5 }), /CRITICAL/);
});

test("operations that failed, were set aside or left out, or are at risk are a warning that each check sees", () => {
	const kept = [
		{ kind: "failed", count: 2, at: 5000 },
		{ kind: "at risk", count: 7, at: 2000 },
		{ kind: "failed", count: 1, at: 9000 },
	];
	for (const loops of [facts(7, 8), facts(undefined, undefined)]) {
		const report = reportStatus({ ...loops, kept });
		const [warning, ...others] = lines(report, /^(warning|CRITICAL)/);
		assert.deepEqual(others, []);
		assert.match(
			warning ?? "",
			/^warning redo, since .*: operations of the live server .*: 3 failed, 7 at risk {2}\[trouble\]$/,
		);
	}
	assert.deepEqual(lines(reportStatus({ ...facts(7, 8), kept: [] }), /^warning/), []);
	const told = { ...redo, replay: { ...redo.replay, failedOperations: 3 } };
	const report = reportStatus({ ...facts(7, 8), redo: { pid: 7, state: told, ageMs: 1 } });
	assert.match(report, /^warning redo, .*3 failed, set aside or left out/m);
});

test("invariant 9: LDAP is told with ids, times and ages: in use, checked and not in use, on the live server and how long ago that was heard", () => {
	const copy = (id: string, number: number, takenAt: number) => ({
		id,
		transactionIds: { "mdb/db": number },
		sources: {},
		files: "",
		takenAt,
		entries: 12,
	});
	const installed = copy("one", 40, 0);
	const state: LdapState = {
		...ldap,
		installed,
		staged: copy("two", 41, 1000),
		changeSeen: { transactionIds: { "mdb/db": 42 }, at: 2000 },
		liveClock: 4000,
	};
	const ldapAgesMs = ldapAges(state, 700);
	assert.deepEqual(ldapAgesMs, { installed: 4700, staged: 3700, changeSeen: 2700 });
	assert.deepEqual(ldapAges(state, undefined), {}, "nothing was heard, so nothing is old or new");
	const held = { ...facts(7, 8), ldap: { pid: 8, state, ageMs: 1 }, ldapAgesMs };
	assert.deepEqual(ldapRows(reportStatus(held)), [
		"ldap      watching; copy of 1970-01-01T00:00:00.000Z (4.7 s ago), 12 entries, mdb/db transaction 40",
		"ldap next copy of 1970-01-01T00:00:01.000Z (3.7 s ago), 12 entries, mdb/db transaction 41, checked and not in use",
		"ldap live mdb/db transaction 42, seen 1970-01-01T00:00:02.000Z (2.7 s ago), heard 0.7 s ago",
	]);
	const same = { ...held, ldap: { pid: 8, state: { ...state, staged: installed }, ageMs: 1 } };
	assert.doesNotMatch(reportStatus(same), /ldap next/);
});

const ldapRows = (report: string): string[] =>
	report.split("\n").filter((line) => /^ldap (live|next| )/.test(line));
