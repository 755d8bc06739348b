import assert from "node:assert/strict";
import { test } from "node:test";
import {
	judgeHostName,
	judgeLogPlaces,
	judgeOwnRole,
	judgePeer,
	judgeRedoSettings,
	judgeRoom,
	judgeServers,
	judgeVersions,
	type LocalFacts,
} from "../../src/formats/guards.ts";
import type { Hello } from "../../src/formats/protocol/hello.ts";

const local: LocalFacts = {
	peer: "10.0.0.1",
	zimbra: "Release 8.8.15",
	serverId: "id",
	askedAt: 999_000,
	answeredAt: 1_001_000,
	clockOffsetMaxMs: 30_000,
};

const hello: Hello = {
	protocol: 1,
	program: "2.0.0",
	zimbra: "Release 8.8.15",
	redolog: { serverId: "id", sequence: 1, createTime: 1, size: 512, open: true },
	role: "unknown",
	timeline: 1,
	mailboxd: "running",
	liveSyncd: "stopped",
	capabilities: [],
	clock: 1_000_000,
	diskFree: {},
};

test("invariant 7: a peer that is live, the same server and no mirror may be followed", () => {
	assert.deepEqual(judgePeer(local, hello), []);
});

test("a peer whose mailboxd runs, and no live-syncd, is live, whatever it remembers of itself", () => {
	assert.deepEqual(judgePeer(local, { ...hello, role: "mirror" }), []);
});

test("a slow answer is not taken for a wrong clock", () => {
	const slow = { ...local, askedAt: 1_000_000, answeredAt: 1_100_000 };
	assert.deepEqual(judgePeer(slow, { ...hello, clock: 1_099_000 }), []);
});

const cases: [string, Partial<LocalFacts>, Partial<Hello>, string][] = [
	["the peer's mailboxd does not run", {}, { mailboxd: "stopped" }, "peer-not-live"],
	["the peer's mailboxd is in an unknown state", {}, { mailboxd: "unknown" }, "peer-not-live"],
	["the peer runs live-syncd", {}, { liveSyncd: "running" }, "both-mirrors"],
	["the peer is about to run live-syncd", {}, { liveSyncd: "starting" }, "both-mirrors"],
	["the peer has no redo log", {}, { redolog: undefined }, "peer-not-live"],
	["the redo logs are of different servers", { serverId: "other" }, {}, "server-id"],
	["Zimbra's versions differ", { zimbra: "Release 9.0.0" }, {}, "zimbra-version"],
	["the peer speaks another protocol", {}, { protocol: 2 }, "old-agent"],
	["the peer's clock is far ahead", {}, { clock: 1_031_001 }, "clock-offset"],
	["the peer's clock is far behind", {}, { clock: 968_999 }, "clock-offset"],
];
for (const [what, ours, theirs, code] of cases) {
	test(`invariant 7: refused where ${what}`, () => {
		const [refusal] = judgePeer({ ...local, ...ours }, { ...hello, ...theirs });
		assert.equal(refusal?.code, code);
		assert.ok((refusal?.hint.length ?? 0) > 10, "it says what to do");
	});
}

test("everything that forbids to follow a peer is found at once, what could cost mail first", () => {
	const theirs: Partial<Hello> = { mailboxd: "stopped", zimbra: "Release 9.0.0", clock: 0 };
	const codes = judgePeer({ ...local, serverId: "other" }, { ...hello, ...theirs }).map(
		({ code }) => code,
	);
	assert.deepEqual(codes, ["peer-not-live", "server-id", "zimbra-version", "clock-offset"]);
});

test("a server without an initial copy is not told that its redo log is of another server", () => {
	assert.deepEqual(judgePeer({ ...local, serverId: undefined }, hello), []);
});

test("invariant 7: this machine alone tells that it is the live one, and never advises to start Zimbra twice", () => {
	const role = { version: 1, role: "unknown", timeline: 1, since: 0 } as const;
	const judge = (name: "live" | "mirror" | "unknown", mailboxd?: string) =>
		judgeOwnRole("10.0.0.2", "10.0.0.1", { ...role, role: name }, mailboxd);
	assert.equal(judge("unknown"), undefined);
	assert.equal(judge("mirror"), undefined);
	assert.equal(judge("live")?.code, "is-live");
	const running = judge("unknown", "process 7");
	assert.equal(running?.code, "is-live");
	assert.match(running?.message ?? "", /mailboxd runs here \(process 7\)/);
	assert.match(running?.hint ?? "", /live-syncd start on 10\.0\.0\.1/);
	assert.doesNotMatch(running?.hint ?? "", /zmcontrol start/);
});

test("the host name of Zimbra must lead to this machine, and to no other", () => {
	const judge = (addresses: string[], foreign: string[]) =>
		judgeHostName("mail.example.net", "10.0.0.2", { addresses, foreign });
	assert.equal(judge(["10.0.0.2"], []), undefined);
	assert.equal(judge(["127.0.0.1", "10.0.0.2"], []), undefined);
	for (const refusal of [judge(["10.0.0.1"], ["10.0.0.1"]), judge([], [])]) {
		assert.equal(refusal?.code, "host-name");
		assert.match(refusal?.hint ?? "", /: 10\.0\.0\.2 mail\.example\.net;/);
	}
	assert.match(judge(["10.0.0.1"], ["10.0.0.1"])?.message ?? "", /leads to 10\.0\.0\.1, not to/);
	const mixed = judge(["10.0.0.2", "fd00::1"], ["fd00::1"]);
	assert.match(mixed?.message ?? "", /leads to fd00::1, not to this machine/);
	assert.match(judge([], [])?.message ?? "", /leads to no address/);
});

test("a live server that deletes or does not write its redo log cannot be mirrored", () => {
	assert.equal(judgeRedoSettings("a", { enabled: true, deleteOnRollover: false }), undefined);
	assert.match(judgeRedoSettings("a", { enabled: false })?.hint ?? "", /RedoLogEnabled TRUE/);
	const deleting = judgeRedoSettings("a", { enabled: true, deleteOnRollover: true });
	assert.match(deleting?.hint ?? "", /DeleteOnRollover FALSE/);
});

test("an installation of several servers is refused, with their names and what they have", () => {
	const ownName = "mail.example.net";
	assert.equal(judgeServers("a", { ownName, otherStores: [] }), undefined);
	const otherStores = [{ name: "mbox2", services: ["mailbox", "mta"] }];
	const refusal = judgeServers("a", { ownName, otherStores });
	assert.equal(refusal?.code, "several-servers");
	assert.match(refusal?.message ?? "", /mbox2 \(mailbox, mta\)/);
	assert.match(refusal?.hint ?? "", /mbox2 is a server that exists no more.*: zmprov ds mbox2/);
});

test("nothing tells to delete a server where it is not certain which one is the live server itself", () => {
	const otherStores = [{ name: "mail.example.net", services: ["mailbox", "ldap"] }];
	const refusal = judgeServers("a", { ownName: undefined, otherStores });
	assert.equal(refusal?.code, "several-servers");
	assert.doesNotMatch(refusal?.hint ?? "", /zmprov ds/);
});

test("a name of the other side is no part of a command, unless it is the name of a host", () => {
	for (const name of ["x; rm -rf /", "$(id)", "-a", "a b"]) {
		const others = { ownName: "mail", otherStores: [{ name, services: ["ldap"] }] };
		assert.doesNotMatch(judgeServers("a", others)?.hint ?? "", /zmprov ds/);
		const own = { ownName: name, otherStores: [{ name: "mbox2", services: ["ldap"] }] };
		const refusal = judgeServers("a", own);
		assert.equal(refusal?.code, "several-servers");
		assert.equal(refusal?.hint?.includes(name), false, name);
	}
});

test("of two versions of Zimbra the parts that differ are named", () => {
	const version = "Release 8.8.15.GA.3869.UBUNTU18.64 UBUNTU18_64 FOSS edition, Patch 8.8.15_P45";
	const named = (there: string) =>
		/differ: (.*); 10\.0\.0\.1 has/.exec(
			judgeVersions("10.0.0.1", there, version)?.message ?? "",
		)?.[1];
	assert.equal(named(version), undefined);
	assert.equal(
		named(version.replace("P45", "P44")),
		"the patch, 8.8.15_P44 there and 8.8.15_P45 here",
	);
	assert.equal(
		named(version.replace(", Patch 8.8.15_P45", "")),
		"the patch, none there and 8.8.15_P45 here",
	);
	assert.equal(
		named(version.replace("FOSS", "NETWORK")),
		"the edition, NETWORK there and FOSS here",
	);
	assert.equal(
		named(version.replaceAll("UBUNTU18", "UBUNTU20")),
		"the platform, UBUNTU20_64 there and UBUNTU18_64 here",
	);
	assert.equal(
		named("Release 10.0.7.GA.4623.UBUNTU20.64 UBUNTU20_64 FOSS edition"),
		"the release, 10.0.7.GA.4623 there and 8.8.15.GA.3869 here; the platform, UBUNTU20_64 there and UBUNTU18_64 here; the patch, none there and 8.8.15_P45 here",
	);
	assert.equal(named("Carbonio 24"), "the version");
});

test("a file system that is all but full is refused; what shares it is counted together", () => {
	const gib = 2 ** 30;
	const redolog = { directory: "/redolog", fileSystem: 1, freeBytes: 5 * gib, neededBytes: 0 };
	const base = { directory: "/base", fileSystem: 2, freeBytes: 3 * gib, neededBytes: 0 };
	const ldap = { directory: "/base/ldap", fileSystem: 2, freeBytes: 3 * gib, neededBytes: 2 * gib };
	const judge = (...rooms: (typeof redolog)[]) => judgeRoom(rooms, gib)?.message;
	assert.equal(judge(redolog, base, ldap), undefined);
	assert.match(
		judge({ ...redolog, freeBytes: gib - 1 }, base, ldap) ?? "",
		/^\/redolog: 1024 MiB free and 1024 MiB must stay \(disk_floor\)/,
	);
	const little = 3 * gib - 1;
	assert.match(
		judge(redolog, { ...base, freeBytes: little }, { ...ldap, freeBytes: little }) ?? "",
		/^\/base: 3072 MiB free, a copy of LDAP takes 2048 MiB and 1024 MiB must stay/,
	);
	assert.equal(judge(redolog, { ...base, freeBytes: gib }), undefined);
	assert.equal(judgeRoom([redolog, base, ldap], gib + 1)?.code, "disk-space");
	assert.equal(judgeRoom([{ ...redolog, freeBytes: 0 }], 0), undefined);
});

test("a redo log that Zimbra keeps elsewhere is not followed", () => {
	const judge = (settings: Parameters<typeof judgeLogPlaces>[2]) =>
		judgeLogPlaces("a", "/opt/zimbra", settings);
	assert.equal(judge({}), undefined);
	assert.equal(
		judge({ logPath: "redolog/redo.log", archiveDirectory: "redolog/archive" }),
		undefined,
	);
	const absolute = {
		logPath: "/opt/zimbra/redolog/redo.log",
		archiveDirectory: "/opt/zimbra/redolog/archive/",
	};
	assert.equal(judge(absolute), undefined);
	const moved = judge({ logPath: "redolog/redo.log", archiveDirectory: "/data/archive" });
	assert.equal(moved?.code, "redolog-elsewhere");
	assert.match(moved?.hint ?? "", /mcf zimbraRedoLogArchiveDir redolog\/archive/);
	assert.match(judge({ logPath: "/data/redo.log" })?.message ?? "", /zimbraRedoLogLogPath \/data/);
});
