import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import {
	chmodSync,
	existsSync,
	mkdirSync,
	mkdtempSync,
	readFileSync,
	rmSync,
	writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { formatHeader } from "../../src/formats/redolog/header.ts";
import { type Finished, runToEnd } from "../pair/run.ts";

const script = join(import.meta.dirname, "../../bin/initial-copy");
const skip = process.getuid?.() === 0 ? false : "only root may make an initial copy";

/** Two homes on this machine; `ssh` leads from the mirror's to the live one's. */
class Servers implements Disposable {
	readonly directory = mkdtempSync(join(tmpdir(), "copied-"));
	readonly live = join(this.directory, "live/zimbra");
	readonly mirror = join(this.directory, "mirror/zimbra");
	readonly #ssh = join(this.directory, "bin/ssh");
	readonly #asked = join(this.directory, "asked");

	constructor() {
		this.put(this.live, "store/0/mail", "a mail");
		mkdirSync(this.mirror, { recursive: true });
		this.reach(this.live);
	}

	/** Lets ssh lead to another home. */
	reach(home: string): void {
		mkdirSync(dirname(this.#ssh), { recursive: true });
		writeFileSync(
			this.#ssh,
			`#!/bin/sh
echo "$@" | head -n 1 >>'${this.#asked}'
while [ $# -gt 0 ]; do case $1 in -l | -p) shift 2 ;; -*) shift ;; *) shift; break ;; esac; done
exec sh -c "$(printf '%s ' "$@" | sed 's#${this.mirror}#${home}#g')"
`,
		);
		chmodSync(this.#ssh, 0o755);
	}

	/** How ssh was called, up to the host. */
	asked(): string[] {
		const calls = readFileSync(this.#asked, "utf8").trim().split("\n");
		return calls.map((call) => /^.*?\S*:\S*/.exec(call)?.[0] ?? call);
	}

	/** Something that happens on the live server when its files have been read. */
	whileCopying(command: string): void {
		const rsync = join(dirname(this.#ssh), "rsync");
		writeFileSync(
			rsync,
			`#!/bin/sh
"$(PATH='${process.env.PATH}' command -v rsync)" "$@"
code=$?
case "$*" in *--server*) ${command} ;; esac
exit $code
`,
		);
		chmodSync(rsync, 0o755);
	}

	put(home: string, path: string, content: string | Uint8Array): void {
		mkdirSync(dirname(join(home, path)), { recursive: true });
		writeFileSync(join(home, path), content);
	}

	log(home: string, sequence: number, size = 512, serverId = "one"): void {
		const header = formatHeader({
			open: false,
			fileSize: size,
			sequence,
			serverId,
			firstOperationTime: 0,
			lastOperationTime: 0,
			version: { major: 1, minor: 42 },
			createTime: 1_795_454_394_292 + sequence,
		});
		this.put(home, "redolog/redo.log", Buffer.concat([header], size));
	}

	copy(...words: string[]): Promise<Finished> {
		return this.type("--home", this.mirror, ...words, "192.0.2.1");
	}

	type(...words: string[]): Promise<Finished> {
		const env = { ...process.env, PATH: `${dirname(this.#ssh)}:${process.env.PATH}` };
		return runToEnd("sh", [script, ...words], { env });
	}

	/** Something that looks like a process of Zimbra, until it is disposed of. */
	running(...words: string[]): Disposable {
		const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)", "--", ...words]);
		return { [Symbol.dispose]: () => child.kill("SIGKILL") };
	}

	[Symbol.dispose](): void {
		rmSync(this.directory, { recursive: true, force: true });
	}
}

async function refused(copying: Promise<Finished>, why: RegExp): Promise<void> {
	const { code, stderr } = await copying;
	assert.equal(code, 1, stderr);
	assert.match(stderr, why);
	assert.match(stderr, /nothing was changed/);
}

test("an initial copy brings all of Zimbra, and leaves queue and state of this server alone", {
	skip,
}, async () => {
	using servers = new Servers();
	const { live, mirror } = servers;
	servers.log(live, 17);
	servers.put(
		live,
		"data/postfix/spool/deferred/A/A1",
		"mail that the live server has yet to deliver",
	);
	servers.put(live, "live_sync/status/replayed.json", "of the live server");
	servers.put(
		mirror,
		"data/postfix/spool/deferred/B/B1",
		"mail that this server has yet to deliver",
	);
	servers.put(mirror, "live_sync/status/role.json", "of this server");
	servers.put(mirror, "store/0/old", "what the live server has not");
	const { code, stderr } = await servers.copy();
	assert.equal(code, 0, stderr);
	assert.match(stderr, /with Zimbra stopped on 192\.0\.2\.1/);
	assert.equal(readFileSync(join(mirror, "store/0/mail"), "utf8"), "a mail");
	assert.deepEqual(
		readFileSync(join(mirror, "redolog/redo.log")),
		readFileSync(join(live, "redolog/redo.log")),
	);
	assert.ok(!existsSync(join(mirror, "store/0/old")));
	assert.ok(existsSync(join(mirror, "data/postfix/spool/deferred/B/B1")));
	assert.ok(!existsSync(join(mirror, "data/postfix/spool/deferred/A/A1")));
	assert.ok(existsSync(join(mirror, "live_sync/status/role.json")));
	assert.ok(!existsSync(join(mirror, "live_sync/status/replayed.json")));
	assert.deepEqual(
		readFileSync(join(mirror, "store/0/mail"), "utf8"),
		readFileSync(join(live, "store/0/mail"), "utf8"),
	);
});

test("an initial copy goes to an address of IPv6 and to another port; an option without its value is refused", {
	skip,
}, async () => {
	using servers = new Servers();
	const home = servers.mirror;
	const { code, stderr } = await servers.type("--home", home, "--port", "2222", "2001:db8::1");
	assert.equal(code, 0, stderr);
	assert.ok(existsSync(join(home, "store/0/mail")));
	const asked = servers.asked().map((call) => call.replaceAll(/-o\S+ /g, ""));
	const look = "-p 2222 root@2001:db8::1";
	assert.deepEqual(asked, [look, "-p 2222 -l root 2001:db8::1", look]);
	await refused(servers.type("192.0.2.1", "--home"), /--home takes a value/);
	await refused(servers.type("--port", "two", "192.0.2.1"), /--port takes a number/);
});

test("a copy that is made while Zimbra runs on the live server says that it is not the last one", {
	skip,
}, async () => {
	using servers = new Servers();
	using _mailboxd = servers.running(`-Djetty.home=${servers.live}/mailboxd`);
	const { code, stderr } = await servers.copy();
	assert.equal(code, 75, stderr);
	assert.match(stderr, /repeat it with Zimbra stopped there/);
});

test("a copy during which Zimbra was started on the live server, and stopped again, says so", {
	skip,
}, async () => {
	using servers = new Servers();
	servers.log(servers.live, 17);
	servers.whileCopying(`printf x >>'${servers.live}/redolog/redo.log'`);
	const { code, stderr } = await servers.copy();
	assert.equal(code, 75, stderr);
	assert.match(
		stderr,
		/was started on 192\.0\.2\.1 meanwhile.*repeat it with Zimbra stopped there/,
	);
});

for (const [what, words] of [
	["mailboxd", ["-Djetty.base=HOME/mailboxd"]],
	["slapd", ["HOME/common/libexec/slapd"]],
	["the database", ["HOME/common/sbin/mysqld"]],
	["live-syncd", ["HOME/live_sync/live-syncd", "loop"]],
] as const) {
	test(`an initial copy over a server on which ${what} runs is refused`, { skip }, async () => {
		using servers = new Servers();
		const { mirror } = servers;
		using _running = servers.running(...words.map((word) => word.replace("HOME", mirror)));
		await refused(servers.copy(), /runs on this server/);
		assert.ok(!existsSync(join(mirror, "store")));
	});
}

for (const [what, sequence, size] of [
	["has come to a later log", 18, 512],
	["has more of the same log", 17, 4096],
] as const) {
	test(`an initial copy over a server that ${what} is refused, unless it is told to go on`, {
		skip,
	}, async () => {
		using servers = new Servers();
		const { live, mirror } = servers;
		servers.log(live, 17);
		servers.log(mirror, sequence, size);
		await refused(servers.copy(), /this server is newer: its redo log stands at 1[78]:\d+/);
		assert.ok(!existsSync(join(mirror, "store")));
		assert.equal((await servers.copy("--overwrite-newer")).code, 0);
		assert.ok(existsSync(join(mirror, "store/0/mail")));
	});
}

test("a fresh installation counts for nothing, however far its own redo log has come", {
	skip,
}, async () => {
	using servers = new Servers();
	servers.log(servers.live, 17);
	servers.log(servers.mirror, 99, 512, "another");
	assert.equal((await servers.copy()).code, 0);
});

test("an initial copy from this server itself, or from one without Zimbra, is refused", {
	skip,
}, async () => {
	using servers = new Servers();
	servers.reach(servers.mirror);
	await refused(servers.copy(), /is this server itself/);
	servers.reach(join(servers.directory, "elsewhere"));
	await refused(servers.copy(), /is not there on 192\.0\.2\.1/);
});
