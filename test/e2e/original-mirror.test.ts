import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { chmod, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { realSize } from "../loops/ldap/support.ts";
import type { Host } from "../pair/host.ts";
import { createPair, type Pair } from "../pair/pair.ts";
import { type Finished, runToEnd } from "../pair/run.ts";
import { compareStores } from "../pair/store-dump.ts";
import { until } from "../pair/until.ts";
import { ending } from "../programs/sync-commands/live-server.ts";

/** A file with the wiki page of 2011, or only its scripts. */
const page = process.env.LIVE_SYNC_ORIGINAL;
const skip =
	page === undefined && "LIVE_SYNC_ORIGINAL names no file with the live_syncd script of 2011";

/**
 * The script as it stands on the page, where some blanks are no-break spaces. What differs is where
 * things are: its own /opt/zimbra is the mirror's home here, that of the other server the live one's.
 */
async function extractScript(file: string, mirror: Host, live: Host): Promise<string> {
	const text = (await readFile(file, "utf8")).replaceAll("\u00a0", " ");
	const script = /^#!\/bin\/bash\n[\s\S]*?^# Title +: +live_syncd$[\s\S]*?^esac$/m.exec(text)?.[0];
	if (script === undefined) throw new Error(`${file} has no live_syncd script`);
	return script
		.replaceAll('"$remote_address"":/opt/zimbra/', `"$remote_address"":${live.home}/`)
		.replaceAll("/opt/zimbra", mirror.home)
		.replaceAll("/sbin/ifconfig", "ifconfig");
}

/** What surrounds the script on a machine that is two hosts: user, address, port, its own processes. */
async function writeSurroundings(mirror: Host, live: Host): Promise<string> {
	const directory = join(mirror.directory, "surroundings");
	await mkdir(directory);
	const knownHosts = mirror.path("live_sync/known_hosts");
	const scripts = {
		whoami: "echo zimbra",
		ifconfig: `echo "inet addr:${mirror.address}  Mask:255.0.0.0"`,
		ssh: `exec /usr/bin/ssh -F none -p ${live.sshd.port} -o UserKnownHostsFile=${knownHosts} "$@"`,
		// It kills whatever it finds by name: it must find nothing but its own.
		ps: [
			'[ "$1" = aux ] || exec /bin/ps "$@"',
			`pids=$(grep -lzxF "LIVE_SYNC_HOST=${mirror.marker}" /proc/[0-9]*/environ 2>/dev/null | cut -d/ -f3)`,
			"exec /bin/ps uww -p $(echo $pids | tr ' ' ,)",
		].join("\n"),
	};
	for (const [name, body] of Object.entries(scripts)) {
		await writeFile(join(directory, name), `#!/bin/sh\n${body}\n`);
		await chmod(join(directory, name), 0o755);
	}
	return directory;
}

type Original = (command: string) => Promise<Finished>;

async function installOriginal(file: string, { a: live, b: mirror }: Pair): Promise<Original> {
	const script = mirror.path("live_sync/live_syncd");
	await writeFile(script, await extractScript(file, mirror, live));
	const surroundings = await writeSurroundings(mirror, live);
	const path = `${surroundings}:${mirror.path("bin")}:/usr/sbin:/usr/bin:/sbin:/bin`;
	const env = { ...mirror.environment, PATH: path };
	return (command) => runToEnd("/bin/bash", [script, command], { env, cwd: mirror.home });
}

const logOf = (host: Host) => readFile(host.path("redolog/redo.log"));

async function archivesOf(host: Host): Promise<Map<string, string>> {
	const names = await readdir(host.path("redolog/archive"));
	const contents = names.toSorted().map(async (name): Promise<[string, string]> => {
		const bytes = await readFile(host.path("redolog/archive", name));
		return [name, createHash("sha256").update(bytes).digest("hex")];
	});
	return new Map(await Promise.all(contents));
}

/** How often a request was served on the live server. */
async function served(live: Host, request: string): Promise<number> {
	const log = await readFile(live.path("live_sync/log/sync_commands.log"), "utf8");
	return log.split("\n").filter((line) => line.endsWith(`request=${request}`)).length;
}

test("the unchanged bash live_syncd of 2011 follows a server that has our sync-commands", {
	skip,
}, async () => {
	// Its rsync would write all the holes of a database of 80 GiB.
	await using pair = await createPair({ ldap: { writemap: false } });
	const { a: live, b: mirror } = pair;
	await realSize(live);
	const original = await installOriginal(page ?? "", pair);
	const everybody = [1, 2, 3].map((i) => `user${i}@example.net`);
	const deliver = async () => {
		for (const each of everybody) await live.mailbox.deliver({ to: [each] });
		await live.mailbox.deliver({ to: everybody });
	};
	await deliver();
	await live.mailbox.rollover();
	await deliver();

	const started = await original("start");
	assert.equal(started.code, 0, started.stderr);
	assert.match(started.stdout, /Starting processes\.\.\.done/);
	const script = mirror.path("live_sync/log/live_sync.log");
	const explain = async (error: unknown) => {
		throw new Error(await readFile(script, "utf8"), { cause: error });
	};

	await until("it waits for a rollover", async () => (await served(live, "wait_redo")) === 1).catch(
		explain,
	);
	await deliver();
	// It moves its log away before it makes the next one.
	const streamed = async () =>
		(await logOf(mirror).catch(() => undefined))?.equals(await logOf(live)) ?? false;
	await until("the stream has brought the open log", streamed).catch(explain);

	// Its rsync takes files of one size and one second for the same, and would leave the header as it
	// was before the rollover rewrote it.
	await sleep(1100);
	await live.mailbox.rollover();
	await deliver();
	await until("it waits again", async () => (await served(live, "wait_redo")) === 2).catch(explain);
	assert.match(await readFile(script, "utf8"), /Moving redo\.log to redo-.*-seq1\.log/);
	assert.deepEqual(await archivesOf(mirror), await archivesOf(live));
	assert.ok((await served(live, "purge")) >= 2);
	await until("the stream has brought the new log", streamed).catch(explain);
	// The other loop has copied LDAP, and waits for its next change.
	await until("LDAP was copied", async () => (await served(live, "wait_ldap")) >= 2).catch(explain);

	const stopped = await original("stop");
	assert.equal(stopped.code, 0, stopped.stderr);
	const expected = await live.dumpStore();
	assert.ok(expected.size >= 24, `${expected.size} items`);
	assert.deepEqual(compareStores(expected, await mirror.dumpStore()), []);
	for (const host of [live, mirror]) {
		const left = () => host.strayProcesses().map(({ command }) => command);
		await until("nothing of it is left", () => left().length === 0).catch((error) => {
			throw new Error(`${host.name}: ${left().join("\n")}`, { cause: error });
		});
	}
});

test("wait_ldap of 2011 ends on a new account in a slapd that writes through a map", async () => {
	await using pair = await createPair({ ldap: true, copied: false });
	const { a: live } = pair;
	const waiting = spawn(live.path("live_sync/sync_commands"), ["wait_ldap"], {
		env: live.environment,
	});
	const answer = ending(waiting);
	let said = "";
	waiting.stderr.on("data", (text) => {
		said += text;
	});
	await until("it watches", () => said.includes("Watches established."));
	await sleep(2000);
	assert.equal(waiting.exitCode, null, "nothing has changed yet");
	await live.createAccount("new@example.net");
	const { code, stdout } = await answer;
	assert.deepEqual([code, stdout], [0, `${live.path("data/ldap/mdb/db")}/ MODIFY data.mdb\n`]);
});
