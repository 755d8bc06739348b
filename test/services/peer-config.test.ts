import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { Refusal } from "../../src/errors.ts";
import { formatRole, unknownRole } from "../../src/formats/role.ts";
import { loadConfig } from "../../src/services/config.ts";
import { knowPeer } from "../../src/services/peer-config.ts";
import { canMakeNetwork, ownNetworkNamespace } from "../pair/no-network.ts";

const [first, second] = ["198.51.100.1", "2001:db8::2"];

/** A base directory with these two servers, and with what an earlier start found, if it found anything. */
function makeBase(t: TestContext, kept?: string, more = ""): string {
	const base = mkdtempSync(join(tmpdir(), "peer-config-"));
	t.after(() => rmSync(base, { recursive: true }));
	const file = join(base, "live_sync.conf");
	writeFileSync(file, `server1="${first}"\nserver2="${second}"\n${more}`, { mode: 0o644 });
	mkdirSync(join(base, "status"));
	if (kept !== undefined) {
		writeFileSync(join(base, "status/role.json"), formatRole({ ...unknownRole, local: kept }));
	}
	return file;
}

/** The local address, and what was said, on a machine with these addresses. */
async function find(file: string, all: readonly string[], running = all) {
	const said: string[] = [];
	const config = await loadConfig(file);
	const { localAddress, remoteAddress } = await knowPeer(
		config,
		(message) => said.push(message),
		async () => ({ all, running }),
	);
	assert.deepEqual([localAddress, remoteAddress].sort(), [first, second]);
	return { local: localAddress, said: said.join() };
}

const refusal = (message: RegExp) => (error: unknown) =>
	error instanceof Refusal && error.code === "bad-config" && message.test(error.message);

test("the server of which this machine has the address is the local one, however it is written", async (t) => {
	const file = makeBase(t);
	assert.deepEqual(await find(file, ["127.0.0.1", first]), { local: first, said: "" });
	const long = "2001:0db8:0000:0000:0000:0000:0000:0002";
	assert.deepEqual(await find(file, [long]), { local: second, said: "" });
});

test("both addresses of this machine, or neither: refused, and local= is named", async (t) => {
	const file = makeBase(t);
	await assert.rejects(find(file, ["192.0.2.1"]), refusal(/: neither of server1/));
	await assert.rejects(find(file, [first, second]), refusal(/: both of server1/));
	const told = makeBase(t, undefined, 'local="server2"\n');
	assert.deepEqual(await find(told, [first]), { local: second, said: "" });
});

test("the other server's address, kept on an interface that is down, does not confuse", async (t) => {
	assert.equal((await find(makeBase(t), [first, second], [second])).local, second);
	assert.equal((await find(makeBase(t, first), [first, second], [second])).local, first);
});

test("where the addresses of the machine tell nothing, what the last start found counts", async (t) => {
	for (const own of [["192.0.2.1"], [first, second], []]) {
		const { local, said } = await find(makeBase(t, "2001:db8:0::2"), own);
		assert.equal(local, second);
		assert.match(said, /at the last start it was server2/);
	}
});

test("addresses of the machine that contradict what the last start found win, and it is said", async (t) => {
	const { local, said } = await find(makeBase(t, second), [first]);
	assert.equal(local, first);
	assert.match(said, /2001:db8::2 at the last start.* it is server1/);
	const renumbered = await find(makeBase(t, "192.0.2.9"), [first]);
	assert.match(renumbered.said, /192\.0\.2\.9 at the last start/);
	await assert.rejects(find(makeBase(t, "192.0.2.9"), []), refusal(/: neither of server1/));
});

for (const [title, address, command] of [
	["an IPv4 address without a carrier", first, "true"],
	["an IPv6 address without a carrier", second, "true"],
	["an IPv4 address on an interface that is set down", first, "ip link set v0 down"],
] as const) {
	test(`${title} is an address of this machine`, {
		skip: !canMakeNetwork() && "no network namespaces here",
	}, (t) => {
		const source = join(import.meta.dirname, "../../src/services");
		const script = `
			import { loadConfig } from "${source}/config.ts";
			import { knowPeer } from "${source}/peer-config.ts";
			const config = await loadConfig("${makeBase(t)}");
			console.log((await knowPeer(config, console.log)).localAddress);`;
		const network = `ip link add v0 type veth peer name v1 && ip addr add ${address}/64 dev v0 nodad || exit 1
			ip link set v0 up && ${command} && exec "$0" --input-type=module -e "$1"`;
		const length = network.replace("/64", address.includes(":") ? "/64" : "/24");
		const words = [...ownNetworkNamespace, "sh", "-c", length, process.execPath, script];
		const { stdout, stderr } = spawnSync("unshare", words, { encoding: "utf8" });
		assert.equal(stdout.trim(), address, stderr);
	});
}
