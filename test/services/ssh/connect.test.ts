import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import ssh2 from "ssh2";
import { Refusal } from "../../../src/errors.ts";
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

/** An sshd that lets everybody in and answers nothing, and what a mirror with that known_hosts makes of it. */
async function connectWith(
	lines: (name: string) => string,
	use: (config: PeerConfig) => Promise<unknown> = connected,
	{ opens = true } = {},
): Promise<unknown> {
	const directory = mkdtempSync(join(tmpdir(), "connect-"));
	const server = new ssh2.Server({ hostKeys: [readFileSync(hostKey.path)] }, (client) => {
		client.on("authentication", (asked) => asked.accept()).on("error", () => undefined);
		client.on("session", (accept) => {
			if (opens) accept().on("exec", (acceptExec) => acceptExec());
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
	["a key that is marked as revoked", (name: string) => `@revoked ${pinned(name)}`],
	[
		"a key that is pinned and marked as revoked",
		(name: string) => `${pinned(name)}@revoked ${pinned(name)}`,
	],
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
