import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { endRound } from "../../src/services/ldap/round-processes.ts";
import { slapdIsHere } from "../../src/services/ldap/slapd-here.ts";
import { environmentUsers } from "../../src/services/ldap/users.ts";
import { findScriptOf2011 } from "../../src/services/live-syncd-here.ts";
import { processesRunning, processesWith, userOf } from "../../src/services/process-table.ts";
import { identify } from "../../src/services/processes.ts";
import { makeMailboxd } from "../../src/services/zimbra/mailboxd.ts";
import { databaseService, ldapService } from "../../src/services/zimbra/service.ts";
import { clearPidFile } from "../../src/services/zimbra/zmplayredo.ts";
import { writeDirectory } from "../loops/ldap/small-directory.ts";
import { until } from "../pair/until.ts";
import { type ScriptedHost, scriptedHost } from "./zimbra/host.ts";

const nobody = 65_534;
type User = "ours" | "another";

/** Only root may start processes of another user, and only where that user exists (user namespaces). */
async function whyNot(): Promise<string | false> {
	if (process.getuid?.() !== 0) return "only root can start a process of another user";
	const child = spawn("/bin/true", { uid: nobody, stdio: "ignore" });
	const started = await once(child, "exit").then(
		([code]) => code === 0,
		() => false,
	);
	return started ? false : "there is no other user in this user namespace";
}
const skip = await whyNot();

/** A process of a user that shows these words, and waits until it is disposed of. */
async function show(
	user: User,
	words: readonly string[],
	{ argv0 = "sh", env = {}, file = "/bin/sh" } = {},
): Promise<{ pid: number } & AsyncDisposable> {
	const wait = words[0] === "-c" ? [] : ["-c", "echo ready; read -r nothing"];
	const who = user === "ours" ? {} : { uid: nobody, gid: nobody };
	const child: ChildProcess = spawn(file, [...wait, ...words], {
		...who,
		...{ argv0, env, stdio: ["pipe", "pipe", "inherit"] },
	});
	const ended = once(child, "exit").then(() => assert.fail(`${words.join(" ")} has ended`));
	if (child.stdout !== null) await Promise.race([once(child.stdout, "data"), ended]);
	return {
		pid: child.pid ?? 0,
		[Symbol.asyncDispose]: async () => {
			child.kill("SIGKILL");
			await ended.catch(() => undefined);
		},
	};
}

/** What looks for a process, what it looks for, and whether it has found one. */
type Look = {
	readonly what: string;
	readonly start: (host: ScriptedHost, user: User) => Promise<{ pid: number } & AsyncDisposable>;
	readonly found: (host: ScriptedHost) => Promise<number | undefined>;
};

const byPidFile = (
	what: string,
	words: readonly string[],
	pidFile: string,
	find: (host: ScriptedHost) => Promise<{ pid: number } | undefined>,
): Look => ({
	what,
	start: async (host, user) => {
		const child = await show(user, words);
		await writeFile(host.path(pidFile), `${child.pid}\n`);
		return child;
	},
	found: async (host) => (await find(host))?.pid,
});

const mailboxd = async (host: ScriptedHost) => await makeMailboxd(host).process();
const player = async (host: ScriptedHost) =>
	await clearPidFile(host.config, host.log).then(
		() => undefined,
		(error: Error) => Number(/process (\d+)/.exec(error.message)?.[1]),
	);

const looks: Look[] = [
	{
		what: "mailboxd, by its words",
		start: (host, user) => show(user, [`-Djetty.home=${host.home}/mailboxd`]),
		found: async (host) => (await mailboxd(host))?.pid,
	},
	byPidFile("mailboxd, by an old pid file", ["mailboxd"], "log/zmmailboxd_java.pid", mailboxd),
	{
		what: "a zmplayredo that an admin has started",
		start: (host, user) =>
			show(user, ["com.zimbra.cs.redolog.util.PlaybackUtil", `-Dhome=${host.home}/conf`]),
		found: player,
	},
	byPidFile("slapd", ["slapd"], "data/ldap/state/run/slapd.pid", (host) =>
		ldapService(host).process(),
	),
	byPidFile("the database", ["mysqld"], "log/mysql.pid", (host) => databaseService(host).process()),
	{
		what: "the script of 2011",
		start: async (host, user) => {
			await chmod(host.home, 0o755);
			const script = join(host.config.base.base, "live_syncd");
			await writeFile(script, "echo ready; read -r nothing\n");
			return await show(user, ["-c", 'exec -a bash bash "$0"', script], { file: "/bin/bash" });
		},
		found: async ({ config }) => findScriptOf2011(config),
	},
	{
		what: "a command of ours",
		start: (host, user) => show(user, ["live-syncd", host.home]),
		found: async (host) => processesRunning(["live-syncd", host.home])[0]?.pid,
	},
	{
		what: "a replay run, by its environment",
		start: (host, user) => show(user, [], { env: { LIVE_SYNC_TEST: host.home } }),
		found: async (host) => processesWith(`LIVE_SYNC_TEST=${host.home}`)[0]?.pid,
	},
	{
		what: "the check of an LDAP copy",
		start: (host, user) => show(user, ["slapcat", "-F", join(host.config.base.ldap, "check")]),
		found: async (host) => (await endRound(host.config))[0]?.pid,
	},
];

for (const { what, start, found } of looks) {
	test(`what another user runs under the name of it is not ${what}`, { skip }, async () => {
		await using host = await scriptedHost();
		await using child = await start(host, "another");
		assert.equal(userOf(child.pid), "other");
		assert.equal(await found(host), undefined);
		assert.notEqual(identify(child.pid), undefined, "and it is left alone");
		await child[Symbol.asyncDispose]();
		await using own = await start(host, "ours");
		assert.equal(await found(host), own.pid);
	});
}

test("a program that another user starts as root, with words of his choice, is his", {
	skip,
}, async () => {
	const words = [
		"-c",
		"exec setpriv --euid=0 --ruid=65534 -- perl -e '$| = 1; print 1; <STDIN>' mailboxd",
	];
	await using child = await show("ours", words);
	assert.equal(userOf(child.pid), "other");
});

/** Words of a process that has locked a file as liblmdb does: a read lock on the first byte. */
function lockWords(name: string, file: string): string[] {
	// struct flock of Linux on 64 bits
	const lock = `$0 = "${name}"; open(F, "<", $ARGV[0]) or die; my $l = pack("s s x4 q q i x4", 0, 0, 0, 1, 0); fcntl(F, 6, $l) or die $!; $| = 1; print "ready\\n"; <STDIN>;`;
	return ["-c", 'exec perl -e "$0" "$@"', lock, file];
}

test("an LDAP database that another user has locked is not in use; one that our slapd has locked is", {
	skip,
}, async () => {
	await using host = await scriptedHost();
	await chmod(host.home, 0o755);
	const file = host.path("lock.mdb");
	await writeFile(file, "");
	await chmod(file, 0o644);
	for (const [user, users] of [
		["another", 0],
		["ours", 1],
	] as const) {
		await using child = await show(user, lockWords("slapd", file));
		const found = await environmentUsers([host.home]);
		assert.equal(found.length, users, user);
		if (users > 0) assert.deepEqual(found, [{ pid: child.pid, name: "slapd", serves: true }]);
	}
	await until("nobody has it", async () => (await environmentUsers([host.home])).length === 0);
});

test("a slapd whose name the kernel hides (hidepid) counts as running here; another program does not", async () => {
	await using host = await scriptedHost();
	writeDirectory(host.path("data/ldap"), "mdb/db", 7);
	const file = host.path("data/ldap/mdb/db/lock.mdb");
	await writeFile(file, "");
	assert.equal(await slapdIsHere(host.config), false);
	// A process without a name looks like one whose name is hidden.
	for (const [name, isHere] of [
		["", true],
		["slapd", true],
		["mdb_copy", false],
	] as const) {
		await using _child = await show("ours", lockWords(name, file));
		assert.equal((await environmentUsers([dirname(file)])).length, 1, name);
		assert.equal(await slapdIsHere(host.config), isHere, name);
	}
});
