import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { appendFile, copyFile, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { formatStreamRequest } from "../../../src/formats/protocol/request.ts";
import { headerSize, parseHeader } from "../../../src/formats/redolog/header.ts";
import { freePort, ownNetwork } from "../../pair/network.ts";
import { processesOf } from "../../pair/processes.ts";
import { runToEnd } from "../../pair/run.ts";
import { makeKey, Sshd } from "../../pair/sshd.ts";
import { until } from "../../pair/until.ts";
import { LiveServer } from "./live-server.ts";

const project = join(import.meta.dirname, "../../..");

/** A live server behind a real sshd, with the forced command as in authorized_keys of a real one. */
class SshServer implements AsyncDisposable {
	readonly live: LiveServer;
	readonly sshd: Sshd;
	readonly marker = randomBytes(6).toString("hex");
	readonly #options: string[];

	private constructor(live: LiveServer, sshd: Sshd) {
		this.live = live;
		this.sshd = sshd;
		const name = `[${sshd.address}]:${sshd.port}`;
		this.#options = [
			...["-F", "none", "-i", join(live.directory, "key"), "-p", String(sshd.port)],
			...["-o", `UserKnownHostsFile=${join(live.directory, "known_hosts")}`],
			...["-o", `HostKeyAlias=${name}`, "-o", "BatchMode=yes"],
		];
	}

	static async make(settings: Record<string, string> = {}): Promise<SshServer> {
		const live = await LiveServer.make(settings);
		const { directory } = live;
		const authorizedKeys = join(directory, "authorized_keys");
		const publicKey = makeKey(join(directory, "key"), "live-syncd");
		const program = join(live.base, "sync_commands");
		const command = `${process.execPath} ${join(project, "bin/sync-commands.ts")}`;
		const config = join(live.base, "live_sync.conf");
		await writeFile(program, `#!/bin/sh\nexec ${command} --config ${config} "$@"\n`, {
			mode: 0o755,
		});
		await writeFile(authorizedKeys, `restrict,command="${program}" ${publicKey} live-syncd\n`);
		const address = `${ownNetwork()}.1`;
		const port = await freePort(address);
		const sshd = new Sshd({
			directory: join(directory, "sshd"),
			address,
			port,
			authorizedKeys,
			home: directory,
		});
		const server = new SshServer(live, sshd);
		await writeFile(join(directory, "known_hosts"), `[${address}]:${port} ${sshd.hostKey}\n`);
		await sshd.start({ ...process.env, LIVE_SYNC_HOST: server.marker });
		return server;
	}

	ssh(asked: string): ChildProcess & { stdin: NodeJS.WritableStream } {
		const words = [...this.#options, this.sshd.address, asked];
		return spawn("ssh", words, { stdio: ["pipe", "pipe", "pipe"], detached: true }) as never;
	}

	rsync(...words: string[]) {
		const shell = `ssh ${this.#options.join(" ")}`;
		// A group of its own: rsync has a second process and an ssh, which must go with it.
		return spawn("rsync", ["-e", shell, ...words], { detached: true });
	}

	/** Our programs and rsyncs on the live side, whatever became of their sessions. */
	served(): string[] {
		const { live, marker } = this;
		return processesOf({ marker, directory: live.directory })
			.map(({ command }) => command)
			.filter((command) => /^\S*node .*sync-commands\.ts|^rsync --server/.test(command));
	}

	async [Symbol.asyncDispose](): Promise<void> {
		await this.sshd.stop();
		await this.live[Symbol.asyncDispose]();
	}
}

/** The end of a client at any moment, as its server sees it. */
function cut({ pid, exitCode }: ChildProcess): void {
	if (pid !== undefined && exitCode === null) process.kill(-pid, "SIGKILL");
}

test("after 20 connections that were cut at any moment no process is left on the live side", async () => {
	await using server = await SshServer.make();
	const redolog = server.live.path("redolog");
	await appendFile(join(redolog, "redo.log"), randomBytes(4 << 20));
	const header = parseHeader((await readFile(join(redolog, "redo.log"))).subarray(0, headerSize));
	const position = {
		sequence: 4,
		offset: 0,
		serverId: header?.serverId ?? "",
		createTime: header?.createTime ?? 0,
		timeline: 1,
	};
	const stream = { position, mirror: "127.0.0.2", compression: "none" } as const;
	const program = "/opt/zimbra/live_sync/sync_commands";
	const on = (verb: string) => () => {
		const child = server.ssh(program);
		child.stdin.write(`${verb}\n`);
		return child;
	};
	const closed = (verb: string) => () => {
		const child = server.ssh(program);
		child.stdin.end(`${verb}\n`); // as `echo verb | ssh` does
		return child;
	};
	const connections = [
		closed("stream"),
		closed("wait_redo"),
		closed("wait_ldap"),
		on("stream"),
		on("wait_redo"),
		on("wait_ldap"),
		() => server.ssh(program), // says nothing
		() => server.ssh(`${program} ${formatStreamRequest(stream)}`),
		() =>
			server.rsync(
				"-aHz",
				"--bwlimit=50",
				`${server.sshd.address}:${redolog}/`,
				`${server.live.directory}/copy/`,
			),
		closed("hello"),
	];
	for (let i = 0; i < 20; i++) {
		const child = (connections[i % connections.length] as () => ChildProcess)();
		child.stdout?.resume();
		const served = (await server.live.served()).length;
		// Every third in its first moments, the others while they are served.
		if (i % 3 !== 0) {
			await until(
				`connection ${i} is served`,
				async () => (await server.live.served()).length >= served + 1 || child.exitCode !== null,
			);
		}
		await sleep((i * 37) % 400);
		cut(child);
	}
	await until("no process is left", () => server.served().length === 0).catch((error) => {
		throw new Error(`still there: ${server.served().join("; ")}`, { cause: error });
	});
});

test("a waiting verb ends within seconds when its sshd is gone, also below a shell that stays", async () => {
	await using server = await SshServer.make();
	// A forced command that is more than one command keeps its shell.
	const keys = join(server.live.directory, "authorized_keys");
	const text = await readFile(keys, "utf8");
	await writeFile(
		keys,
		text
			.replace(/command="([^"]*)"/, 'command="cd / && $1; true"')
			.replace("$1", /command="([^"]*)"/.exec(text)?.[1] ?? ""),
	);
	const child = server.ssh("/opt/zimbra/live_sync/sync_commands");
	child.stdin.end("wait_redo\n");
	await until("it is served", async () => (await server.live.served()).length > 0);
	cut(child);
	await until("it has ended", () => server.served().length === 0);
});

test("an rsync of the 2011 mirror brings redolog over a real sshd, and its exit code comes through", async () => {
	await using server = await SshServer.make();
	const { live } = server;
	const { address } = server.sshd;
	const copy = join(live.directory, "copy");
	const pull = (...words: string[]) =>
		new Promise((resolve) => {
			server.rsync(...words).once("close", resolve);
		});
	const options = ["-aHz", "--force", "--delete"];
	assert.equal(await pull(...options, `${address}:${live.path("redolog")}/`, copy), 0);
	const diff = await runToEnd("diff", ["-r", live.path("redolog"), copy]);
	assert.deepEqual(diff, { code: 0, stdout: "", stderr: "" });
	assert.equal(await pull(...options, `${address}:${live.path("data/ldap")}/`, `${copy}/ldap/`), 0);
	// What it must not do: push, and read elsewhere.
	await copyFile(join(live.base, "live_sync.conf"), join(copy, "pushed"));
	assert.notEqual(await pull("-a", `${copy}/pushed`, `${address}:${live.path("redolog")}/`), 0);
	assert.throws(() => readFileSync(live.path("redolog/pushed")), /ENOENT/);
	assert.notEqual(await pull("-a", `${address}:${live.path("conf")}/`, `${copy}/conf/`), 0);
	await server.sshd.stop();
});
