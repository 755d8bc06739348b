import assert from "node:assert/strict";
import { type Duplex, duplexPair, PassThrough } from "node:stream";
import { test } from "node:test";
import type { ClientChannel } from "ssh2";
import { describe, Refusal } from "../../../src/errors.ts";
import { parseSettings } from "../../../src/formats/settings/parse.ts";
import { openWatch, requestSnapshot } from "../../../src/loops/ldap/live-watch.ts";
import { basePaths, zimbraPaths } from "../../../src/services/paths.ts";
import type { PeerConfig } from "../../../src/services/peer-config.ts";
import type { SshLink } from "../../../src/services/ssh/connect.ts";

const { settings } = parseSettings('server1="192.0.2.1"\nserver2="192.0.2.2"\n', {
	base_dir: "/b",
});
assert.ok(settings);
const config: PeerConfig = {
	settings,
	base: basePaths("/b"),
	zimbra: zimbraPaths("/z"),
	localAddress: "192.0.2.2",
	remoteAddress: "192.0.2.1",
};

const hello = JSON.stringify({ kind: "hello", method: "snapshot", directory: "/z/data/ldap" });
const mark = { transactionIds: { "mdb/db": 1 }, sources: { "mdb/db": "1.2.b" }, files: "ab" };
const look = JSON.stringify({ kind: "look", ...mark, clock: 5, heard: 0 });
const snapshot = JSON.stringify({
	...mark,
	id: "id",
	takenAt: 1,
	entries: { "mdb/db": 3 },
	contents: [],
	directory: "/z/snapshot",
});
const noEvents = { onLook: () => undefined, onPasswords: () => undefined };

type Say = (out: Duplex, end: (exitCode: number) => void, err: PassThrough) => void;

/** A link to a live server that answers each command with these words. */
function linkTo(say: Say): SshLink {
	const exec = async () => {
		const [near, out] = duplexPair();
		const err = new PassThrough();
		const channel = Object.assign(near, { stderr: err });
		for (const each of [channel, out]) each.on("error", () => undefined);
		out.resume();
		const end = (exitCode: number) => {
			channel.once("end", () => {
				channel.emit("exit", exitCode);
				setImmediate(() => channel.destroy());
			});
			out.end();
		};
		setImmediate(() => say(out, end, err));
		return channel as unknown as ClientChannel;
	};
	const close = () => undefined;
	return { exec, close, closed: new Promise(() => undefined), [Symbol.dispose]: close };
}

const failure = async (link: SshLink): Promise<Error> => {
	try {
		using watch = await openWatch(link, config, noEvents);
		return new Error(`it opened: ${watch.noise}`);
	} catch (error) {
		return error as Error;
	}
};

for (const [what, noise] of [
	["nothing", ""],
	["a line", "Welcome!\n"],
	["words without a line end", "Welcome!"],
	["several lines and words", "Welcome!\r\n\nto \u001b[1mmail\u001b[0m "],
] as const) {
	test(`where the live user's shell prints ${what}, LDAP is watched and a snapshot read, and the words are kept`, async () => {
		using watch = await openWatch(
			linkTo((out) => out.write(`${noise}${hello}\n${look}\n`)),
			config,
			noEvents,
		);
		assert.equal(watch.hello.method, "snapshot");
		assert.equal(watch.noise.includes("Welcome!"), noise !== "");
		assert.doesNotMatch(watch.noise, /\p{Cc}/u);
		const link = linkTo((out, end) => {
			out.write(`${noise}${snapshot}\n`);
			end(0);
		});
		assert.equal((await requestSnapshot(link, config, AbortSignal.timeout(60_000))).id, "id");
	});
}

test("a live server that sends a line without an end is hung up on, with bounded memory", async () => {
	let sent = 0;
	const link = linkTo((out) => {
		out.write(`${hello}\n`);
		const piece = Buffer.alloc(1 << 16, "x");
		const more = () => {
			while (sent < 1 << 30) {
				sent += piece.length;
				if (!out.write(piece)) return void out.once("drain", more);
			}
		};
		more();
	});
	assert.match(describe(await failure(link)), /never says: a line of more than 1048576 bytes/);
	assert.ok(sent < 3 << 20, `${sent} bytes were taken`);
});

test("a shell that prints without an end is hung up on too, and so is a snapshot that has none", async () => {
	const endless = linkTo((out) => {
		for (let i = 0; i < 8; i++) out.write(`${"x".repeat(1000)}\n`.repeat(1000));
	});
	assert.match(
		describe(await failure(endless)),
		/its shell printed more than 64 KiB before the first answer/,
	);
	await assert.rejects(
		requestSnapshot(endless, config, AbortSignal.timeout(60_000)),
		/sent what ldap_snapshot never says/,
	);
});

test("who answers in place of ldap_changes is quoted; only the script of 2011 is called an old agent", async () => {
	const nologin = linkTo((out, end) => {
		out.write("This account is currently not available.\n");
		end(1);
	});
	const quoted = await failure(nologin);
	assert.ok(!(quoted instanceof Refusal), String(quoted));
	assert.match(
		quoted.message,
		/192\.0\.2\.1 did not answer.*This account is currently not available/,
	);
	const old = linkTo((_, end, err) => {
		err.write("rsync  version 3.0.6  protocol version 30\n");
		end(1);
	});
	const refusal = await failure(old);
	assert.ok(refusal instanceof Refusal && refusal.code === "old-agent", String(refusal));
});
