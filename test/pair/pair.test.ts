import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { test } from "node:test";
import type { Host } from "./host.ts";
import { createPair } from "./pair.ts";
import { processesOf } from "./processes.ts";
import { until } from "./until.ts";

const ssh = (from: Host, to: Host, port: number, ...command: string[]) =>
	from.run(
		"ssh",
		...["-o", "BatchMode=yes", "-i", from.path(".ssh/live_sync"), "-p", String(port)],
		...["-o", `UserKnownHostsFile=${from.path("live_sync/known_hosts")}`],
		to.address,
		...command,
	);

test("a host's sshd starts the forced command, whatever the client asks for", async () => {
	await using pair = await createPair({ ldap: false, started: false });
	const { a, b } = pair;
	writeFileSync(
		a.path("live_sync/sync_commands"),
		'#!/bin/sh\necho "asked: $SSH_ORIGINAL_COMMAND"; echo "on standard error" >&2; exit 7\n',
	);
	const { code, stdout, stderr } = await ssh(b, a, a.sshd.port, "cat", "/etc/passwd");
	assert.deepEqual({ code, stdout }, { code: 7, stdout: "asked: cat /etc/passwd\n" });
	assert.match(stderr, /on standard error/);
});

test("a host whose key is not the known one is refused by the other's ssh", async () => {
	await using pair = await createPair({ ldap: false, started: false });
	const { a, b } = pair;
	writeFileSync(
		b.path("live_sync/known_hosts"),
		`[${a.address}]:${a.sshd.port} ${b.sshd.hostKey}\n`,
	);
	const { code, stderr } = await ssh(b, a, a.sshd.port, "hello");
	assert.equal(code, 255);
	assert.match(stderr, /REMOTE HOST IDENTIFICATION HAS CHANGED/);
});

test("every process of a host is found, those of a session of sshd too", async () => {
	await using pair = await createPair({ ldap: false, started: false });
	const { a, b } = pair;
	assert.deepEqual(a.strayProcesses(), []);
	writeFileSync(a.path("live_sync/sync_commands"), "#!/bin/sh\nenv -i sleep 1000\n");
	const session = spawn(
		"ssh",
		[
			...["-o", "BatchMode=yes", "-i", b.path(".ssh/live_sync"), "-p", String(a.sshd.port)],
			...["-o", `UserKnownHostsFile=${b.path("live_sync/known_hosts")}`, a.address, "wait"],
		],
		{ stdio: "ignore" },
	);
	await until("the session runs", () =>
		a.strayProcesses().some(({ command }) => command === "sleep 1000"),
	);
	await a.crash();
	assert.deepEqual(a.processes(), []);
	session.kill();
});

test("a pair that is disposed leaves no process and no file", async () => {
	const pair = await createPair({ ldap: false });
	assert.ok(pair.a.processes().length > 3, "sshd, ldap, mysql and mailboxd run");
	await pair.dispose();
	assert.deepEqual(processesOf(pair.a, pair.b), []);
	assert.equal(existsSync(pair.directory), false);
});

for (const name of ["SIGKILL", "SIGINT", "SIGTERM"] as const)
	test(`a test that ends by ${name} leaves no process and no file of its pair`, async () => {
		const script = `
			import { createPair } from ${JSON.stringify(import.meta.resolve("./pair.ts"))};
			const pair = await createPair({ ldap: false });
			console.log(JSON.stringify([pair.directory, pair.a.marker, pair.b.marker]));
			setInterval(() => {}, 1000);`;
		const child = spawn(process.execPath, ["--input-type=module", "--eval", script], {
			stdio: ["ignore", "pipe", "inherit"],
		});
		const [line] = await Array.fromAsync(firstLine(child.stdout));
		const [directory = "", a = "", b = ""] = JSON.parse(line ?? "[]") as string[];
		const hosts = [
			{ marker: a, directory: `${directory}/a` },
			{ marker: b, directory: `${directory}/b` },
		];
		assert.ok(processesOf(...hosts).length > 3);
		child.kill(name);
		await until("all is gone", () => processesOf(...hosts).length === 0 && !existsSync(directory));
	});

test("the two hosts know each other by address and port", async () => {
	await using pair = await createPair({
		ldap: false,
		started: false,
		settings: { replay_interval: "5s" },
	});
	const conf = readFileSync(pair.b.confFile, "utf8");
	assert.match(conf, /^local="server2"$/m);
	assert.match(conf, new RegExp(`^ssh_port="${pair.a.sshd.port}"$`, "m"));
	assert.match(conf, /^replay_interval="5s"$/m);
});

async function* firstLine(input: NodeJS.ReadableStream): AsyncGenerator<string> {
	for await (const line of createInterface({ input })) {
		yield line;
		return;
	}
}
