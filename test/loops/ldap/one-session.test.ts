import assert from "node:assert/strict";
import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { loadConfig } from "../../../src/services/config.ts";
import { knowPeer } from "../../../src/services/peer-config.ts";
import { connect } from "../../../src/services/ssh/connect.ts";
import type { Host } from "../../pair/host.ts";
import { signal } from "../../pair/processes.ts";
import { Directory, ldapPair, placeOf, readState, startFollowing, waitFor } from "./support.ts";

const watches = (host: Host): number[] =>
	host
		.processes()
		.filter(({ command }) => /sync-commands(?:\.ts)?( |$)/.test(command))
		.map(({ pid }) => pid);

test("with MaxSessions 1 in sshd_config LDAP is copied all the same", async () => {
	await using pair = await ldapPair();
	const { a, b } = pair;
	const log = join(a.directory, "sshd/sshd.log");
	const before = readFileSync(log, "utf8").length;
	appendFileSync(join(a.directory, "sshd/sshd_config"), "MaxSessions 1\n");
	signal(a.sshd.pid ?? 0, "SIGHUP");
	await waitFor("sshd", b, () =>
		readFileSync(log, "utf8").slice(before).includes("Server listening"),
	);
	await using _loop = await startFollowing(b);
	await new Directory(a).addAccount("one");
	await waitFor("the account", b, () => new Directory(b).hasAccount("one"));
});

test("a second ldap_changes takes no snapshot away that another one may be about to fetch", async () => {
	await using pair = await ldapPair();
	const { a, b } = pair;
	await using _loop = await startFollowing(b);
	assert.equal(existsSync(placeOf(a, "snapshot")), true);
	const config = await knowPeer(await loadConfig(b.confFile), () => undefined);
	using link = await connect(config, new AbortController().signal);
	const channel = await link.exec("ldap_changes");
	let said = "";
	channel.on("data", (text: Buffer) => {
		said += text.toString();
	});
	channel.write("1\n");
	await waitFor("its look", b, () => said.includes('"heard":1'));
	assert.equal(watches(a).length > 1, true);
	channel.destroy();
	link.close();
	await waitFor("its end", b, () => watches(a).length === 1);
	assert.equal(existsSync(placeOf(a, "snapshot/config")), true);
});

test("the snapshot of an ldap_changes that was killed goes with the next one", async () => {
	await using pair = await ldapPair();
	const { a, b } = pair;
	const loop = await startFollowing(b);
	const [pid = 0] = watches(a);
	signal(pid, "SIGKILL");
	await waitFor("the next watch", b, () => {
		const state = readState(b);
		return state?.phase === "watching" && watches(a).some((each) => each !== pid);
	});
	await waitFor("the snapshot's end", b, () => !existsSync(placeOf(a, "snapshot")));
	await loop.stop();
});
