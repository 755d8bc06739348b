import { type ChildProcess, spawn } from "node:child_process";
import { appendFileSync, existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { LdapSnapshot, LdapState } from "../../../src/formats/state.ts";
import { readEnvironments } from "../../../src/services/ldap/directory.ts";
import type { Host } from "../../pair/host.ts";
import { createPair, type Pair, type PairOptions } from "../../pair/pair.ts";
import { type Finished, runToEnd } from "../../pair/run.ts";
import { adminDn, type Entry, ldapUrl, parseEntries } from "../../pair/store/accounts.ts";

/** Quick ones, so that tests take seconds; a real mirror takes its time. */
export const quickSettings = {
	ldap_quiet: "100ms",
	ldap_interval: "200ms",
	ldap_share: "100",
	ldap_poll: "100ms",
	reconnect_max: "1s",
	// Longer than any pause of a slow machine.
	service_timeout: "60s",
	connect_timeout: "60s",
	link_timeout: "30s",
} as const;

/** Two hosts with a real slapd; the mirror's loop is started by the test. */
export async function ldapPair(options: PairOptions = {}): Promise<Pair> {
	const pair = await createPair({
		ldap: true,
		...options,
		settings: { ...quickSettings, ...options.settings },
	});
	for (const host of [pair.a, pair.b]) {
		for (const each of ["status", "lock", "pid", "log", "ldap"]) {
			mkdirSync(host.path("live_sync", each), { recursive: true });
		}
	}
	return pair;
}

/** One more line in a host's live_sync.conf. */
export function configure(host: Host, settings: Readonly<Record<string, string>>): void {
	for (const [name, value] of Object.entries(settings)) {
		appendFileSync(host.confFile, `${name}="${value}"\n`);
	}
}

export type RunningLoop = AsyncDisposable & {
	readonly child: ChildProcess;
	/** resolves with its exit code, or the signal that killed it */
	readonly ended: Promise<number | string>;
	stop(): Promise<number | string>;
};

/** `live-syncd loop ldap`, as `start` runs it. */
export function startLoop(host: Host, failAt?: string): RunningLoop {
	const environment = host.environment as Record<string, string>;
	if (failAt === undefined) delete environment.LIVE_SYNC_FAIL_AT;
	else environment.LIVE_SYNC_FAIL_AT = failAt;
	const child = spawn(host.path("live_sync/live_syncd"), ["loop", "ldap"], {
		env: environment,
		cwd: host.home,
		stdio: ["ignore", "ignore", "inherit"],
	});
	const ended = new Promise<number | string>((resolve) => {
		child.once("exit", (code, signal) => resolve(code ?? signal ?? -1));
	});
	const stop = () => {
		child.kill("SIGTERM");
		return ended;
	};
	return {
		child,
		ended,
		stop,
		async [Symbol.asyncDispose]() {
			await stop();
		},
	};
}

/** The same, when it has put its first copy in use. */
export async function startFollowing(host: Host): Promise<RunningLoop> {
	const loop = startLoop(host);
	await waitFor("the first copy", host, () => installedCopy(host));
	await waitFor("its state", host, () => (readState(host)?.rounds ?? 0) > 0);
	return loop;
}

/** Waits until `look` gives something; fails with the log of the mirror in hand. */
export async function waitFor<T>(
	what: string,
	host: Host,
	look: () => T | undefined | false | Promise<T | undefined | false>,
	timeoutMs = 120_000,
): Promise<T> {
	const deadline = Date.now() + timeoutMs;
	for (;;) {
		const found = await look();
		if (found !== undefined && found !== false) return found;
		if (Date.now() > deadline) {
			throw new Error(`waited in vain for ${what}; its log:\n${readLog(host)}`);
		}
		await sleep(20);
	}
}

/** The mirror's copy in use is that of the live directory as it is now, and no round is under way. */
export async function waitUntilNewest({ a, b }: Pair): Promise<void> {
	await waitFor("the newest copy", b, async () => {
		const state = readState(b);
		const [environment] = (await readEnvironments(a.path("data/ldap"), ["mdb/db"])).values();
		const newest = environment?.transactionId === state?.installed?.transactionIds["mdb/db"];
		return newest && state?.phase === "watching" && state.problems.length === 0;
	});
}

export function readLog(host: Host): string {
	const path = host.path("live_sync/log/live_sync.log");
	return existsSync(path) ? readFileSync(path, "utf8") : "(none)";
}

export function readState(host: Host): LdapState | undefined {
	try {
		return JSON.parse(readFileSync(host.path("live_sync/status/ldap.json"), "utf8"));
	} catch {
		return undefined;
	}
}

/** What the directory in use says it is a copy of. */
export function installedCopy(host: Host): LdapSnapshot | undefined {
	try {
		return JSON.parse(readFileSync(host.path("data/ldap/.live_sync.json"), "utf8"));
	} catch {
		return undefined;
	}
}

/** Directory work on one host's slapd, without a JVM's or Node's start-up in between. */
export class Directory {
	readonly host: Host;
	readonly #words: string[];

	constructor(host: Host, as: "zimbra" | "root" = "zimbra") {
		this.host = host;
		const [dn, password] =
			as === "zimbra" ? [adminDn, "secret-of-zimbra"] : ["cn=config", "secret-of-root"];
		this.#words = ["-x", "-H", ldapUrl(host.directory), "-D", dn, "-w", password];
	}

	get words(): readonly string[] {
		return this.#words;
	}

	/** LDIF with changes. */
	async change(ldif: string): Promise<void> {
		const { code, stderr } = await this.#run("ldapmodify", [], ldif);
		if (code !== 0) throw new Error(`ldapmodify on ${this.host.name} exited ${code}: ${stderr}`);
	}

	async addAccount(...names: string[]): Promise<void> {
		const changes = names.map((name) =>
			[
				`dn: uid=${name},ou=people,dc=example,dc=net`,
				"changetype: add",
				"objectClass: inetOrgPerson",
				"objectClass: zimbraAccount",
				...["uid", "cn", "sn"].map((each) => `${each}: ${name}`),
				`mail: ${name}@example.net`,
				`zimbraId: id-of-${name}`,
				"",
			].join("\n"),
		);
		await this.change(changes.join("\n"));
	}

	async deleteAccount(name: string): Promise<void> {
		await this.change(`dn: uid=${name},ou=people,dc=example,dc=net\nchangetype: delete\n`);
	}

	/** Entries, or undefined where it does not answer. */
	async search(base: string, filter: string, ...names: string[]): Promise<Entry[] | undefined> {
		const options = ["-LLL", "-o", "ldif-wrap=no", "-b", base];
		const { code, stdout } = await this.#run("ldapsearch", [...options, filter, ...names]);
		return code === 0 ? parseEntries(stdout) : undefined;
	}

	/** Whether the account is there; undefined where LDAP does not answer. */
	async hasAccount(name: string): Promise<boolean | undefined> {
		const found = await this.search("", `(uid=${name})`, "uid");
		return found === undefined ? undefined : found.length > 0;
	}

	#run(command: string, words: readonly string[], input?: string): Promise<Finished> {
		const all = [...this.#words, ...words];
		return runToEnd(command, all, input === undefined ? {} : { input });
	}
}

/** The slapd of a host is up and answers, from a directory that passes the tools whole. */
export async function checkWhole(host: Host): Promise<number> {
	const dump = await runToEnd("mdb_dump", ["-a", "-f", "/dev/null", host.path("data/ldap/mdb/db")]);
	if (dump.code !== 0) throw new Error(`mdb_dump: ${dump.code} ${dump.stderr}`);
	const words = ["-F", host.path("data/ldap/config"), "-n", "2"];
	const cat = await runToEnd("slapcat", words, { cwd: host.home });
	if (cat.code !== 0) throw new Error(`slapcat: ${cat.code} ${cat.stderr}`);
	return cat.stdout.match(/^dn:/gm)?.length ?? 0;
}

export const placeOf = (host: Host, ...below: string[]): string =>
	join(host.path("live_sync/ldap"), ...below);

/** slapadd -q has made the file as large as its map, and rsync would read all of its holes. */
export async function realSize(host: Host): Promise<void> {
	await host.mustRun("ldap", "stop");
	const database = host.path("data/ldap/mdb/db");
	mkdirSync(join(host.directory, "small"));
	await host.mustRun("mdb_copy", database, join(host.directory, "small"));
	await host.mustRun("cp", join(host.directory, "small/data.mdb"), database);
	await host.mustRun("ldap", "start");
}
