import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { dial, Unanswered } from "../../../src/services/ssh/dial.ts";

/** A listener that is stopped with its queue full: packets to it vanish, as on the way to a host that is down. */
class BlackHole implements AsyncDisposable {
	readonly port: number;
	readonly #process: ChildProcess;
	readonly #filling: Socket[] = [];

	private constructor(process: ChildProcess, port: number) {
		this.#process = process;
		this.port = port;
	}

	static async make(): Promise<BlackHole> {
		const script = `require("net").createServer().listen({ port: 0, host: "127.0.0.1", backlog: 1 },
			function () { console.log(this.address().port); })`;
		const listener = spawn(process.execPath, ["-e", script], {
			stdio: ["ignore", "pipe", "inherit"],
		});
		const [port] = await once(listener.stdout, "data");
		listener.kill("SIGSTOP");
		const hole = new BlackHole(listener, Number(port));
		while (await hole.takes());
		return hole;
	}

	/** Whether one more connection still comes through. */
	async takes(): Promise<boolean> {
		const socket = connect(this.port, "127.0.0.1").on("error", () => undefined);
		this.#filling.push(socket);
		return await Promise.race([once(socket, "connect").then(() => true), sleep(500, false)]);
	}

	heal(): void {
		this.#process.kill("SIGCONT");
	}

	async [Symbol.asyncDispose](): Promise<void> {
		for (const socket of this.#filling) socket.destroy();
		this.#process.kill("SIGKILL");
		if (this.#process.exitCode === null) await once(this.#process, "exit");
	}
}

const patient = new AbortController().signal;

test("an address that answers again is reached at once, long before a first packet that was lost is sent again", async () => {
	await using hole = await BlackHole.make();
	const dialled = dial("127.0.0.1", hole.port, 60_000, patient);
	const plain = connect(hole.port, "127.0.0.1").on("error", () => undefined);
	const connected = once(plain, "connect");
	// The kernel has sent the first packet again after 1 s and 3 s, and will do so after 7 s.
	await sleep(3500);
	hole.heal();
	const first = await Promise.race([dialled.then(() => "dialled"), connected.then(() => "plain")]);
	assert.equal(first, "dialled");
	(await dialled).destroy();
	plain.destroy();
});

test("an address that does not answer in time, or refuses, is unanswered, and named", async () => {
	await using hole = await BlackHole.make();
	await assert.rejects(dial("127.0.0.1", hole.port, 1500, patient), (error) => {
		assert.ok(error instanceof Unanswered);
		assert.match(error.message, new RegExp(`127\\.0\\.0\\.1 port ${hole.port}`));
		assert.match(String(error.cause), /connect_timeout/);
		return true;
	});
	const closed = createServer().listen(0, "127.0.0.1");
	await once(closed, "listening");
	const { port } = closed.address() as { port: number };
	closed.close();
	await assert.rejects(dial("127.0.0.1", port, 60_000, patient), (error) => {
		assert.ok(error instanceof Unanswered);
		assert.match(String(error.cause), /ECONNREFUSED/);
		return true;
	});
});

test("whoever is told to end does not wait for an address that is silent", async () => {
	await using hole = await BlackHole.make();
	const ended = new AbortController();
	const dialled = dial("127.0.0.1", hole.port, 600_000, ended.signal);
	ended.abort(new Error("stop"));
	await assert.rejects(dialled, /stop/);
});
