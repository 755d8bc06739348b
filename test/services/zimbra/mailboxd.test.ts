import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { test } from "node:test";
import { makeMailboxd } from "../../../src/services/zimbra/mailboxd.ts";
import { type ScriptedHost, scriptedHost } from "./host.ts";

const { signal } = new AbortController();

async function java(...words: string[]): Promise<{ pid: number } & Disposable> {
	const code = "setInterval(() => {}, 1e6); console.log(1)";
	const child = spawn(process.execPath, ["-e", code, "--", ...words], {
		stdio: ["ignore", "pipe", "inherit"],
	});
	await once(child.stdout, "data");
	return { pid: child.pid ?? 0, [Symbol.dispose]: () => void child.kill("SIGKILL") };
}

const ours = (host: ScriptedHost) => `-Djetty.base=${host.home}/mailboxd`;

test("status with exit 0 and no word, as where java is missing, is unknown and not running", async () => {
	await using host = await scriptedHost();
	await host.script("zmmailboxdctl", "exit 0");
	const state = await makeMailboxd(host).state(signal);
	assert.equal(state.kind, "unknown");
	assert.match(state.kind === "unknown" ? state.hint : "", /java is missing/);
});

test("status says running, and no process can be seen: running", async () => {
	await using host = await scriptedHost();
	await host.script("zmmailboxdctl", 'echo "mailboxd is running."');
	assert.equal((await makeMailboxd(host).state(signal)).kind, "running");
});

test("status with exit 1 and no process: stopped", async () => {
	await using host = await scriptedHost();
	await host.script("zmmailboxdctl", 'echo "mailboxd is not running."; exit 1');
	assert.equal((await makeMailboxd(host).state(signal)).kind, "stopped");
});

test("a JVM without a pid file is found, and the script is not asked", async () => {
	await using host = await scriptedHost();
	using jvm = await java("-Xmx1m", ours(host), "-jar", "start.jar");
	assert.equal((await makeMailboxd(host).process())?.pid, jvm.pid);
	assert.equal((await makeMailboxd(host).state(signal)).kind, "running");
});

test("zmplayredo's JVM, and the mailboxd of another home, are not mailboxd", async () => {
	await using host = await scriptedHost();
	using _player = await java(`-Djava.ext.dirs=${host.home}/mailboxd/lib`);
	using _other = await java("-Djetty.base=/opt/other/mailboxd");
	assert.equal(await makeMailboxd(host).process(), undefined);
});

test("a pid file whose number a stranger has now is not believed", async () => {
	await using host = await scriptedHost();
	using stranger = await java("postfix");
	await writeFile(host.path("log/zmmailboxd_java.pid"), `${stranger.pid}\n`);
	assert.equal(await makeMailboxd(host).process(), undefined);
});

test("stop that exits 0 with mailboxd still there did not stop it", async () => {
	await using host = await scriptedHost({ service_timeout: "1s" });
	using jvm = await java(ours(host));
	await writeFile(host.path("log/zmmailboxd_java.pid"), `${jvm.pid}\n`);
	await host.script("zmmailboxdctl", 'echo "Stopping mailboxd...failed."');
	const result = await makeMailboxd(host).stop(signal);
	assert.match(result.ok ? "" : result.problem, /still runs, process \d+ .*failed\./);
});

test("stop is done when the process is gone and the script says so", async () => {
	await using host = await scriptedHost();
	using jvm = await java(ours(host));
	await host.script("zmmailboxdctl", `[ "$1" = stop ] && kill ${jvm.pid}; [ "$1" != status ]`);
	assert.deepEqual(await makeMailboxd(host).stop(signal), { ok: true, changed: true });
});
