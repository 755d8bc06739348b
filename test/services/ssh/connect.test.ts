import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import ssh2, { type AuthContext } from "ssh2";
import { describe, hintOf, Refusal } from "../../../src/errors.ts";
import { parseSettings } from "../../../src/formats/settings/parse.ts";
import { basePaths, zimbraPaths } from "../../../src/services/paths.ts";
import type { PeerConfig } from "../../../src/services/peer-config.ts";
import { ask, connect } from "../../../src/services/ssh/connect.ts";
import { makeKey } from "../../pair/sshd.ts";

const keys = mkdtempSync(join(tmpdir(), "connect-keys-"));
after(() => rmSync(keys, { recursive: true }));
const newKey = (name: string) => {
	const path = join(keys, name);
	return { path, line: makeKey(path, name) };
};
const hostKey = newKey("host");
const otherKey = newKey("other");
const ownKey = newKey("own");

type ServerOptions = {
	readonly opens?: boolean;
	readonly refuses?: boolean;
	readonly hostKeys?: Buffer[];
	readonly banner?: string;
	readonly onLogin?: (asked: AuthContext, end: () => void) => void;
};

/** An sshd that lets everybody in and answers nothing, and what a mirror with that known_hosts makes of it. */
async function connectWith(
	lines: (name: string) => string,
	use: (config: PeerConfig) => Promise<unknown> = connected,
	{
		opens = true,
		refuses = false,
		hostKeys = [readFileSync(hostKey.path)],
		banner,
		onLogin = (asked) => asked.accept(),
	}: ServerOptions = {},
): Promise<unknown> {
	const directory = mkdtempSync(join(tmpdir(), "connect-"));
	const options = { hostKeys, ...(banner === undefined ? {} : { banner }) };
	const server = new ssh2.Server(options, (client) => {
		client
			.on("authentication", (asked) => onLogin(asked, () => client.end()))
			.on("error", () => undefined);
		client.on("session", (accept, reject) => {
			if (refuses) reject();
			else if (opens) accept().on("exec", (acceptExec) => acceptExec());
		});
	});
	try {
		await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
		const base = basePaths(directory);
		mkdirSync(base.base, { recursive: true });
		const { port } = server.address() as { port: number };
		const { settings } = parseSettings(
			`server1="127.0.0.1"\nserver2="127.0.0.2"\nssh_port="${port}"\nssh_key="${ownKey.path}"\n`,
			{ base_dir: base.base },
		);
		assert.ok(settings);
		writeFileSync(base.knownHosts, lines(`[127.0.0.1]:${port}`));
		const config: PeerConfig = {
			settings,
			base,
			zimbra: zimbraPaths(directory),
			localAddress: "127.0.0.2",
			remoteAddress: "127.0.0.1",
		};
		return await use(config);
	} catch (error) {
		return error;
	} finally {
		server.close();
		rmSync(directory, { recursive: true });
	}
}

/** What a mirror makes of a host that says something and hangs up before it speaks ssh. */
async function refusedBefore(words: string): Promise<unknown> {
	const server = createServer((socket) => socket.on("error", () => undefined).end(words, "latin1"));
	await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
	const { port } = server.address() as { port: number };
	try {
		return await connectWith(
			() => pinned(`[127.0.0.1]:${port}`),
			(config) => connected({ ...config, settings: { ...config.settings, ssh_port: port } }),
		);
	} finally {
		server.close();
	}
}

async function connected(config: PeerConfig): Promise<string> {
	const link = await connect(config, AbortSignal.timeout(10_000));
	link.close();
	await link.closed;
	return "connected";
}

const pinned = (name: string) => `${name} ${hostKey.line}\n`;
const other = (name: string) => `${name} ${otherKey.line}\n`;
const otherKind = (name: string) => `${name} ecdsa-sha2-nistp256 AAAA\n`;

for (const [what, lines] of [
	["the pinned key", pinned],
	["the pinned key, beside an old one", (name: string) => other(name) + pinned(name)],
	[
		"the pinned key, beside lines of kinds that this program cannot use",
		(name: string) =>
			`${name} 1024 35 1234567\n${name} sk-ssh-ed25519@openssh.com AAAA\n${pinned(name)}`,
	],
] as const) {
	test(`a host that shows ${what} is the right one`, async () => {
		assert.equal(await connectWith(lines), "connected");
	});
}

for (const [what, lines] of [
	["another key than the pinned one", other],
	["no key of the pinned kind", otherKind],
	[
		"a key where only lines of kinds that this program cannot use are there",
		(name: string) => `${name} sk-ssh-ed25519@openssh.com AAAA\n`,
	],
] as const) {
	test(`a host that shows ${what} is refused with the command that mends it`, async () => {
		const refusal = await connectWith(lines);
		assert.ok(refusal instanceof Refusal, String(refusal));
		assert.equal(refusal.code, "host-key");
		assert.match(refusal.hint, /ssh-keygen -R '\[127\.0\.0\.1\]:\d+'.*ssh-keyscan/);
	});
}

for (const [what, lines] of [
	["marked as revoked", (name: string) => `@revoked ${pinned(name)}`],
	["pinned and marked as revoked", (name: string) => `${pinned(name)}@revoked ${pinned(name)}`],
] as const) {
	test(`a host that shows a key ${what} is refused, and nothing tells to take the mark away`, async () => {
		const refusal = await connectWith(lines);
		assert.ok(refusal instanceof Refusal, String(refusal));
		assert.equal(refusal.code, "host-key");
		assert.doesNotMatch(refusal.hint, /ssh-keygen -R/);
	});
}

for (const [kind, bits] of [
	["ecdsa", "256"],
	["rsa", "2048"],
] as const) {
	test(`a host that has an ${kind} key only is told by a scan that finds it, and then the right one`, async () => {
		const path = join(keys, `host-${kind}`);
		execFileSync("ssh-keygen", ["-q", "-t", kind, "-b", bits, "-N", "", "-m", "PEM", "-f", path]);
		const [type, blob] = readFileSync(`${path}.pub`, "utf8").split(" ");
		const host = { hostKeys: [readFileSync(path)] };
		const refusal = await connectWith(() => "", connected, host);
		assert.ok(refusal instanceof Refusal, String(refusal));
		assert.match(refusal.hint, new RegExp(`ssh-keyscan -t \\S*\\b${kind}\\b`));
		const scanned = (name: string) => `${name} ${type} ${blob}\n`;
		assert.equal(await connectWith(scanned, connected, host), "connected");
	});
}

for (const [mode, fits] of [
	[0o600, true],
	[0o400, true],
	[0o640, false],
	[0o604, false],
	[0o620, false],
	[0o666, false],
] as const) {
	const octal = `0${mode.toString(8)}`;
	test(`a private key of mode ${octal} is ${fits ? "taken" : "refused, as ssh does, with what mends it"}`, async () => {
		const path = join(keys, `mode-${octal}`);
		makeKey(path, "mode");
		chmodSync(path, mode);
		const result = await connectWith(pinned, (config) =>
			connected({ ...config, settings: { ...config.settings, ssh_key: path } }),
		);
		if (fits) return assert.equal(result, "connected");
		assert.ok(result instanceof Refusal, String(result));
		assert.equal(result.code, "no-ssh-key");
		assert.ok(result.message.includes(octal), result.message);
		assert.ok(result.hint.startsWith(`chmod 600 ${path}`), result.hint);
	});
}

for (const [words, what] of [
	["Exceeded MaxStartups\r\n", "has too many logins under way"],
	["Not allowed at this time\r\n", "punishes this address"],
] as const) {
	test(`an sshd that ${what} is quoted, with the host`, async () => {
		const error = await refusedBefore(words);
		assert.match(describe(error), /127\.0\.0\.1 port \d+; it said "[^"]*"/);
		assert.ok(describe(error).includes(words.trim()), describe(error));
	});
}

test("what an sshd says before its version is cleaned and cut", async () => {
	const said = describe(await refusedBefore(`\u001b[2J\u009b31m${"x".repeat(3000)}\r\n`));
	assert.match(said, /it said "x+ \[…cut/);
	assert.doesNotMatch(said, /\p{Cc}/u);
});

test("what PAM says of an account stands in the message, where sshd hangs up and where it refuses the key", async () => {
	const banner = "Your account has expired; please contact your system administrator.";
	const hangsUp = await connectWith(pinned, connected, { banner, onLogin: (_, end) => end() });
	assert.ok(describe(hangsUp).includes(`it said "${banner}"`), describe(hangsUp));
	const refuses = await connectWith(pinned, connected, {
		banner,
		onLogin: (asked) => asked.reject(),
	});
	assert.ok(refuses instanceof Refusal, String(refuses));
	assert.equal(refuses.code, "key-refused");
	assert.ok(refuses.message.includes(`it said "${banner}"`), refuses.message);
	assert.match(refuses.hint, /AllowUsers.*PubkeyAcceptedAlgorithms/);
});

test("a host that lets us in and takes no request is told apart, and one session on each connection is enough", async () => {
	const refused = await connectWith(
		pinned,
		(config) => ask(config, "hello", AbortSignal.timeout(10_000)),
		{ refuses: true },
	);
	assert.match(describe(refused), /^127\.0\.0\.1 accepts the login, but refuses to run `hello`: /);
	assert.match(hintOf(refused) ?? "", /MaxSessions in sshd_config must be at least 1/);
});

test("a login that takes too long names connect_timeout; an address where nothing answers does not blame the login", async () => {
	const quickly = (config: PeerConfig) =>
		connected({ ...config, settings: { ...config.settings, connect_timeout: 500 } });
	const slow = await connectWith(pinned, quickly, { onLogin: () => undefined });
	assert.match(
		describe(slow),
		/login of \w+ on 127\.0\.0\.1 port \d+ was not over.*connect_timeout/,
	);
	assert.match(hintOf(slow) ?? "", /longer connect_timeout/);
});

for (const [what, make] of [
	["that is none", (path: string) => writeFileSync(path, "garbage\n")],
	[
		"with a passphrase",
		(path: string) =>
			execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "secret", "-f", path]),
	],
	["that is a directory", (path: string) => mkdirSync(path)],
] as const) {
	test(`a key ${what} is refused, by its name and with what is needed`, async () => {
		const path = join(keys, what.replaceAll(" ", "-"));
		make(path);
		const refusal = await connectWith(pinned, (config) =>
			connected({ ...config, settings: { ...config.settings, ssh_key: path } }),
		);
		assert.ok(refusal instanceof Refusal, String(refusal));
		assert.equal(refusal.code, "no-ssh-key");
		assert.ok(refusal.message.includes(path));
		assert.match(refusal.hint, /ssh-keygen/);
	});
}

for (const [what, options] of [
	["answer a command", {}],
	["open a channel for a command", { opens: false }],
] as const) {
	test(`a host that does not ${what} is named, with the command, and not waited for`, async () => {
		const { signal } = new AbortController();
		const asked = (config: PeerConfig) => ask(config, "hello", signal, 500);
		const error = await connectWith(pinned, asked, options);
		assert.match(String(error), /127\.0\.0\.1 port \d+ did not answer `hello`: not within 1 s/);
	});
}
