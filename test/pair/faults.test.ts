import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { createPair } from "./pair.ts";
import { canMountSmallDisk, SmallDisk } from "./small-disk.ts";
import { TcpProxy } from "./tcp-proxy.ts";
import { until } from "./until.ts";

/** A server that answers with what it gets, and a client of it through a proxy. */
async function echo() {
	const server: Server = createServer((socket) => {
		socket.on("error", () => {});
		socket.pipe(socket);
	});
	await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
	const address = server.address();
	const port = typeof address === "object" ? (address?.port ?? 0) : 0;
	const proxy = await TcpProxy.listen("127.0.0.1", { host: "127.0.0.1", port });
	const client = () => {
		const socket: Socket = connect({ host: "127.0.0.1", port: proxy.port });
		const state = { socket, received: 0, closed: false };
		socket.on("data", (bytes) => {
			state.received += bytes.length;
		});
		socket.on("error", () => {});
		socket.on("close", () => {
			state.closed = true;
		});
		return state;
	};
	return {
		proxy,
		client,
		async [Symbol.asyncDispose]() {
			await proxy[Symbol.asyncDispose]();
			server.close();
		},
	};
}

test("a link can be cut after an exact number of bytes", async () => {
	await using pair = await echo();
	const one = pair.client();
	pair.proxy.cutAfter(777, "toClient");
	one.socket.write(Buffer.alloc(5000));
	await until("the cut", () => one.closed);
	assert.equal(pair.proxy.passed.toClient, 777);
	const two = pair.client();
	two.socket.write(Buffer.alloc(5000));
	await until("the next connection is whole", () => two.received === 5000);
	pair.proxy.cut();
	await until("it is cut too", () => two.closed);
	assert.equal(pair.proxy.connections, 2);
	assert.equal(pair.proxy.openConnections, 0);
});

test("a black hole says nothing, takes connections, and lets all through when healed", async () => {
	await using pair = await echo();
	const one = pair.client();
	one.socket.write("before");
	await until("it works", () => one.received === 6);
	pair.proxy.blackHole();
	one.socket.write("after");
	const two = pair.client();
	two.socket.write("hello");
	await sleep(100);
	assert.deepEqual([one.received, one.closed, two.received, two.closed], [6, false, 0, false]);
	pair.proxy.heal();
	await until("both work", () => one.received === 11 && two.received === 5);
});

test("a host that refuses resets every connection until it is healed", async () => {
	await using pair = await echo();
	pair.proxy.refuse();
	const one = pair.client();
	await until("it is reset", () => one.closed);
	pair.proxy.heal();
	const two = pair.client();
	two.socket.write("hello");
	await until("it works", () => two.received === 5);
});

test("a disk can be small, full, larger again, and read-only, for what runs on the host", {
	skip: canMountSmallDisk() ? false : "no user and mount namespaces here",
}, async () => {
	await using pair = await createPair({ ldap: false, started: false });
	const { b } = pair;
	{
		await using disk = await SmallDisk.mount(b, "redolog", "1m");
		const fill = () => b.run("/bin/sh", "-c", "head -c 3000000 /dev/zero >redolog/x");
		assert.match((await fill()).stderr, /No space left/);
		assert.equal(readFileSync(`${disk.path}/redo.log`).length, 512, "what was there is there");
		await disk.resize("8m");
		assert.equal((await fill()).code, 0);
		await disk.readOnly(true);
		assert.notEqual((await b.run("touch", "redolog/y")).code, 0);
		assert.deepEqual(b.strayProcesses(), []);
	}
	assert.equal(
		(await b.run("ls", b.path("redolog/x"))).code,
		2,
		"the disk is gone with its content",
	);
});

test("a frozen host keeps its connections and says nothing", async () => {
	await using pair = await createPair({ ldap: false });
	const { a } = pair;
	await a.mailbox.deliver({ to: ["user1@example.net"] });
	a.freeze();
	const delivery = a.mailbox.deliver({ to: ["user1@example.net"] });
	assert.equal(await Promise.race([delivery, sleep(200, "nothing")]), "nothing");
	a.thaw();
	await delivery;
});

test("a process that has cut a connection which was just ending comes to its end", async () => {
	const code = `
		import { connect, createServer } from "node:net";
		import { reset } from ${JSON.stringify(join(import.meta.dirname, "tcp-proxy.ts"))};
		const server = createServer({ allowHalfOpen: true }, (client) => client.on("error", () => {}).resume().unref());
		server.listen(0, "127.0.0.1", () => {
			const { port } = server.address();
			const socket = connect({ host: "127.0.0.1", port, allowHalfOpen: true }, () => {
				socket.end("the last word");
				reset(socket);
				server.unref();
			});
			socket.on("error", (error) => console.log(error.message));
		});
	`;
	const child = spawn(process.execPath, ["--input-type=module", "--eval", code], {
		stdio: ["ignore", "inherit", "inherit"],
	});
	const tooLong = setTimeout(() => child.kill("SIGKILL"), 60_000);
	const [exitCode] = await once(child, "exit");
	clearTimeout(tooLong);
	assert.equal(exitCode, 0);
});
