/**
 * LDAP in numbers: `node test/bench/ldap.ts [CHANGES] [ENTRIES]`, and called by the whole benchmark.
 *
 * How long a change takes to be answered by the mirror's slapd, with the default settings; and what a
 * small change to a large directory costs on the wire, beside a plain rsync of the live files.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { settingsTable } from "../../src/formats/settings/table.ts";
import {
	Directory,
	installedCopy,
	ldapPair,
	readState,
	realSize,
	startLoop,
	waitFor,
} from "../loops/ldap/support.ts";
import type { Host } from "../pair/host.ts";
import type { Pair } from "../pair/pair.ts";
import { runToEnd } from "../pair/run.ts";

export type LdapBench = {
	/** 50 unless told */
	readonly changes?: number;
	/** 20,000 unless told: about 250 MB */
	readonly entries?: number;
	readonly say: (line: string) => void;
};

export async function benchLdap({ changes = 50, entries = 20_000, say }: LdapBench): Promise<void> {
	await benchLatency(changes, say);
	await benchWire(entries, say);
}

/** The settings as they are when nobody sets them. */
const defaults = {
	ldap_quiet: settingsTable.ldap_quiet.default,
	ldap_interval: settingsTable.ldap_interval.default,
	ldap_share: settingsTable.ldap_share.default,
	ldap_poll: settingsTable.ldap_poll.default,
};

async function benchLatency(changes: number, say: LdapBench["say"]): Promise<void> {
	await using pair = await ldapPair({ ldap: { writemap: true, entries: 500 }, settings: defaults });
	const { a, b } = pair;
	await using _loop = startLoop(b);
	await waitFor("the first copy", b, () => readState(b)?.rounds === 1);
	const live = new Directory(a);
	const mirror = new Directory(b);
	const waits: number[] = [];
	for (let i = 0; i < changes; i++) {
		// At any time since the round before: sometimes the next one has to wait for its turn.
		await sleep(Math.random() * 8000);
		await live.addAccount(`bench${i}`);
		const at = performance.now();
		await waitFor("the change", b, () => mirror.hasAccount(`bench${i}`), 300_000);
		waits.push(Math.round(performance.now() - at));
	}
	say(
		`ldap: ${changes} changes, each until the mirror's slapd answers with it: ${spread(waits)} ms`,
	);
	say(`ldap: the last round took ${readState(b)?.lastRound?.tookMs} ms, slapd's restart included`);
}

async function benchWire(entries: number, say: LdapBench["say"]): Promise<void> {
	await using pair = await ldapPair({
		ldap: { writemap: false },
		settings: { ...defaults, ldap_share: "100" },
	});
	const { a, b } = pair;
	await fill(a, entries);
	await realSize(a);
	const size = statSync(a.path("data/ldap/mdb/db/data.mdb")).size;
	say(`ldap: a directory of ${megabytes(size)} MB, ${entries} entries`);
	await using loop = startLoop(b);
	await waitFor("the first copy", b, () => readState(b)?.rounds === 1, 300_000);
	say(`ldap:   first copy: ${wire(b)}`);
	for (let i = 0; i < 3; i++) {
		const before = installedCopy(b)?.id;
		await change(pair, i);
		await waitFor("the copy", b, () => installedCopy(b)?.id !== before, 300_000);
		await waitFor("its figures", b, () => readState(b)?.rounds === i + 2);
		say(`ldap:   one small change: ${wire(b)}`);
	}
	await loop.stop();

	// The 2011 way, without its writing of 80 GiB of holes: this database was made to its real size.
	const target = join(pair.directory, "plain");
	await plainRsync(pair, target);
	await change(pair, 3);
	const stats = await plainRsync(pair, target);
	say(`ldap:   plain rsync -aHz of the live files after one small change: ${stats}`);
	rmSync(target, { recursive: true });
}

/** Entries whose text compresses about as real ones do: words, not one word again and again. */
async function fill(host: Host, entries: number): Promise<void> {
	let seed = 1;
	const random = (below: number): number => {
		// Park and Miller's, so that each run has the same directory.
		seed = (seed * 48_271) % 2_147_483_647;
		return seed % below;
	};
	const words = Array.from({ length: 5000 }, () => random(2 ** 30).toString(36));
	const entry = (i: number) =>
		[
			`dn: uid=bulk${i},ou=people,dc=example,dc=net`,
			"objectClass: inetOrgPerson",
			...["uid", "cn", "sn"].map((each) => `${each}: bulk${i}`),
			`description: ${Array.from({ length: 1000 }, () => words[random(words.length)]).join(" ")}`,
			"",
		].join("\n");
	await host.mustRun("ldap", "stop");
	const slapadd = spawn("slapadd", ["-q", "-F", "data/ldap/config", "-n", "2"], {
		cwd: host.home,
		stdio: ["pipe", "ignore", "inherit"],
	});
	const ended = once(slapadd, "exit");
	for (let i = 0; i < entries; i++) {
		if (!slapadd.stdin.write(`${entry(i)}\n`)) await once(slapadd.stdin, "drain");
	}
	slapadd.stdin.end();
	const [code] = await ended;
	if (code !== 0) throw new Error(`slapadd exited ${code}`);
	await host.mustRun("ldap", "start");
}

const change = ({ a }: Pair, i: number): Promise<void> =>
	new Directory(a).change(
		`dn: uid=bulk${i * 100},ou=people,dc=example,dc=net\nchangetype: modify\nreplace: title\ntitle: changed\n`,
	);

async function plainRsync({ a, b }: Pair, target: string): Promise<string> {
	const { address, sshd } = a;
	const ssh = [
		`ssh -F none -i ${b.path(".ssh/live_sync")} -p ${sshd.port}`,
		`-o UserKnownHostsFile=${b.path("live_sync/known_hosts")} -o BatchMode=yes`,
	].join(" ");
	const began = performance.now();
	const { code, stdout, stderr } = await runToEnd("rsync", [
		...["-aHz", "--force", "--delete", "--stats", "-e", ssh],
		...[`${a.user}@${address}:${a.path("data/ldap")}/`, `${target}/`],
	]);
	if (code !== 0) throw new Error(`rsync exited ${code}: ${stderr}`);
	const bytes = (which: string) =>
		Number(new RegExp(`Total bytes ${which}: ([\\d,]+)`).exec(stdout)?.[1]?.replaceAll(",", ""));
	const ms = Math.round(performance.now() - began);
	return `${kilobytes(bytes("received"))} KB received, ${kilobytes(bytes("sent"))} KB sent, ${ms} ms`;
}

function wire(host: Host): string {
	const round = readState(host)?.lastRound;
	if (round === undefined) return "unknown";
	return `${kilobytes(round.bytesReceived)} KB received, ${kilobytes(round.bytesSent)} KB sent, ${round.tookMs} ms`;
}

const kilobytes = (bytes: number): number => Math.round(bytes / 100) / 10;
const megabytes = (bytes: number): number => Math.round(bytes / 1e6);

function spread(numbers: readonly number[]): string {
	const sorted = numbers.toSorted((one, other) => one - other);
	const at = (part: number) =>
		sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))];
	return `min ${sorted[0]}, median ${at(0.5)}, 90% ${at(0.9)}, 99% ${at(0.99)}, max ${sorted.at(-1)}`;
}

if (process.argv[1] === import.meta.filename) {
	const [changes, entries] = process.argv.slice(2).map(Number);
	await benchLdap({
		...(changes === undefined ? {} : { changes }),
		...(entries === undefined ? {} : { entries }),
		say: (line) => process.stdout.write(`${line}\n`),
	});
}
