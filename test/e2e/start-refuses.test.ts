import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { serverName } from "../pair/install.ts";
import { createPair } from "../pair/pair.ts";
import { makeKey } from "../pair/sshd.ts";
import { adminDn, ldapUrl, localConfig } from "../pair/store/accounts.ts";
import { until } from "../pair/until.ts";
import {
	assertNothingRuns,
	caughtUp,
	deliver,
	liveSyncd,
	quick,
	quickly,
	refused,
} from "./support.ts";

test("invariant 7: start on the live server, and where the peer is not live, changes nothing and says why", async () => {
	await using pair = await createPair({ ...quickly });
	const { a, b } = pair;
	await deliver(pair, 3);
	const said = await refused(a, "is-live");
	assert.match(said, new RegExp(`mailboxd runs here .*type \\S+ start on ${b.address}`, "s"));
	await a.stopZimbra();
	assert.ok((await refused(b, "peer-not-live")).includes(`mailboxd does not run on ${a.address}`));
	await assertNothingRuns(pair);
});

test("what this machine tells by itself is said with the other server silent, wrong or gone", async () => {
	await using pair = await createPair({
		proxy: true,
		...quickly,
		// Longer than the test may take: nothing is asked of the other server.
		settings: { ...quick, connect_timeout: "5m", command_timeout: "5m" },
	});
	const { a, b, links } = pair;
	links.toA.blackHole();
	links.toB.blackHole();
	await refused(a, "is-live");
	const key = b.path(".ssh/live_sync");
	renameSync(key, `${key}.away`);
	await refused(b, "no-ssh-key");
	renameSync(`${key}.away`, key);
	const localconfig = b.path("conf/localconfig.xml");
	const right = readFileSync(localconfig, "utf8");
	const name = (other: string) =>
		writeFileSync(localconfig, right.replace(`<value>${serverName}<`, `<value>${other}<`));
	// An address of documentation (RFC 5737) stands for a name that leads to another machine.
	name("192.0.2.7");
	const said = await refused(b, "host-name");
	assert.match(said, /192\.0\.2\.7, the name of this Zimbra .* leads to 192\.0\.2\.7, not to/);
	assert.ok(said.includes(`/etc/hosts of this machine, in place of every other line`), said);
	assert.ok(said.includes(`: ${b.address} 192.0.2.7;`), said);
	name("a..b");
	assert.match(await refused(b, "host-name"), /leads to no address/);
	writeFileSync(localconfig, right);
	const log = b.path("redolog/redo.log");
	renameSync(log, `${log}.away`);
	await refused(b, "no-initial-copy");
});

test("invariant 7: both servers as mirror, both live: refused", async () => {
	await using pair = await createPair({ ...quickly });
	const { a, b } = pair;
	await b.startZimbra();
	assert.match(await refused(b, "is-live"), /mailboxd runs here/);
	await b.stopZimbra();
	const loop = b.spawnLiveSyncd("loop", "redo");
	await until("it runs", async () => (await b.liveSyncd("status")).code === 1);
	await a.stopZimbra();
	assert.match(await refused(a, "both-mirrors"), /runs on one of the two servers only/);
	loop.kill("SIGTERM");
	await new Promise((resolve) => loop.once("exit", resolve));
});

test("beside a live_syncd of 2011 on the same server: refused", async () => {
	await using pair = await createPair({ ...quickly });
	const { b } = pair;
	mkdirSync(b.path("live_sync/old"));
	writeFileSync(b.path("live_sync/old/live_syncd"), "sleep 60; :\n");
	const old = spawn("bash", [b.path("live_sync/old/live_syncd"), "start"], { detached: true });
	assert.match(await refused(b, "both-mirrors"), new RegExp(`2011 runs.* process ${old.pid}\\b`));
	process.kill(-(old.pid ?? 0), "SIGKILL");
	await liveSyncd(b, "start");
	await liveSyncd(b, "kill");
});

test("wrong host key, no host key, wrong key: refused, with the command that mends it", async () => {
	await using pair = await createPair({ ...quickly });
	const { a, b } = pair;
	const knownHosts = b.path("live_sync/known_hosts");
	const right = readFileSync(knownHosts, "utf8");
	const other = makeKey(`${b.directory}/other`, "other");
	writeFileSync(knownHosts, `[${a.address}]:${a.sshd.port} ${other}\n`);
	assert.match(await refused(b, "host-key"), /ssh-keygen -R/);
	rmSync(knownHosts);
	const scan = `ssh-keyscan -t ed25519,ecdsa,rsa -p ${a.sshd.port} ${a.address} >>`;
	assert.ok((await refused(b, "host-key")).includes(scan));
	writeFileSync(knownHosts, right);
	const key = b.path(".ssh/live_sync");
	renameSync(key, `${key}.right`);
	assert.match(await refused(b, "no-ssh-key"), /ssh-keygen -t ed25519/);
	renameSync(`${b.directory}/other`, key);
	assert.match(await refused(b, "key-refused"), /authorized_keys needs/);
});

test("without an initial copy, or with an unclean one, start says what to do", async () => {
	await using pair = await createPair({ ...quickly });
	const { a, b } = pair;
	const log = b.path("redolog/redo.log");
	renameSync(log, `${log}.away`);
	assert.match(await refused(b, "no-initial-copy"), /initial copy/);
	await deliver(pair, 2);
	writeFileSync(log, readFileSync(a.path("redolog/redo.log")));
	assert.match(await refused(b, "unclean-copy"), /its header says that it is open/);
});

test("an installation of several servers: start refuses, and names the other ones", async () => {
	await using pair = await createPair({ ...quickly });
	const { a, b } = pair;
	const admin = ["-x", "-H", ldapUrl(a.directory), "-D", adminDn];
	const bound = [...admin, "-w", localConfig(a.home)["zimbra_ldap_password"] ?? ""];
	const dn = (name: string) => `cn=${name},cn=servers,cn=zimbra`;
	for (const [name, services] of [
		["mta.example.net", ["mta"]],
		["mbox2.example.net", ["mailbox", "mta"]],
	] as const) {
		const entry = [
			`dn: ${dn(name)}`,
			...["organizationalRole", "zimbraServer"].map((each) => `objectClass: ${each}`),
			`cn: ${name}`,
			...services.map((each) => `zimbraServiceEnabled: ${each}`),
		];
		execFileSync("ldapadd", bound, { input: `${entry.join("\n")}\n`, stdio: "pipe" });
	}
	const said = await refused(b, "several-servers");
	assert.match(said, /there is mbox2\.example\.net \(mailbox, mta\)/);
	execFileSync("ldapdelete", [...bound, dn("mbox2.example.net")]);
	await liveSyncd(b, "start");
	await deliver(pair, 1);
	await caughtUp(pair);
	await liveSyncd(b, "kill");
});

test("position file lost: start refuses rather than skip or repeat", async () => {
	await using pair = await createPair({ ...quickly });
	const { b } = pair;
	const loop = b.spawnLiveSyncd("loop", "redo");
	await deliver(pair, 2);
	await caughtUp(pair);
	loop.kill("SIGTERM");
	await new Promise((resolve) => loop.once("exit", resolve));
	rmSync(b.path("live_sync/status/replayed.json"));
	await refused(b, "position-lost");
});

test("a mirror that has lost its provenance replays nothing by guess, and skips nothing", async () => {
	await using pair = await createPair({
		...quickly,
		settings: { ...quick, replay_interval: "1h" },
	});
	const { b } = pair;
	await liveSyncd(b, "start");
	await deliver(pair, 3);
	await caughtUp(pair);
	await liveSyncd(b, "kill");
	rmSync(b.path("redolog/.live_sync"));
	assert.match(
		await liveSyncd(b, "stop", 1),
		/\.live_sync, which tells .* is missing .*\[position-lost\]/,
	);
	await refused(b, "position-lost");
});
