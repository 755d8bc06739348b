import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { constants, tmpdir } from "node:os";
import { join } from "node:path";
import { Host } from "./host.ts";
import { initialCopy } from "./initial-copy.ts";
import { install, type LdapOptions } from "./install.ts";
import { writeConf } from "./live-sync-conf.ts";
import type { Acknowledged } from "./mailbox-client.ts";
import { freePort, ownNetwork } from "./network.ts";
import { sweep } from "./processes.ts";
import { makeKey } from "./sshd.ts";
import type { Account } from "./store/accounts.ts";
import { TcpProxy } from "./tcp-proxy.ts";

export type PairOptions = {
	/** more lines for both live_sync.conf */
	readonly settings?: Readonly<Record<string, string>>;
	/** `source` runs bin/*.ts, `dist` the built executables */
	readonly program?: "source" | "dist";
	/** which accounts there are, or how many; 3 unless told */
	readonly accounts?: number | readonly Account[];
	/** true (as when not told): slapd as Zimbra ships it; false: only a process of that name, and no LDAP path */
	readonly ldap?: boolean | LdapOptions;
	/** `foss` unless told; `network` has zmschedulebackup */
	readonly edition?: "foss" | "network";
	/** global settings of Zimbra, such as zimbraRedoLogRolloverFileSizeKB */
	readonly zimbraSettings?: Readonly<Record<string, string>>;
	/** whether each way between the hosts leads through a proxy that can fail: `links` */
	readonly proxy?: boolean;
	/** whether host b has its initial copy of host a; true unless told */
	readonly copied?: boolean;
	/** whether Zimbra runs on host a; true unless told */
	readonly started?: boolean;
};

/** Two simulated Zimbra hosts on this machine. */
export class Pair {
	readonly directory: string;
	readonly a: Host;
	readonly b: Host;
	readonly #signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
	#disposed = false;
	#links: { toA: TcpProxy; toB: TcpProxy } | undefined;

	constructor(directory: string, a: Host, b: Host) {
		this.directory = directory;
		this.a = a;
		this.b = b;
		this.#watch();
		for (const name of this.#signals) process.once(name, this.#interrupted);
	}

	/** Ends every process of both hosts and removes their directories. */
	async dispose(): Promise<void> {
		if (this.#disposed) return;
		this.#disposed = true;
		for (const name of this.#signals) process.off(name, this.#interrupted);
		this.a.mailbox.disconnect();
		this.b.mailbox.disconnect();
		// First the processes: with nobody at the other end, no connection can keep a proxy open.
		this.#sweep();
		for (const link of Object.values(this.#links ?? {})) await link[Symbol.asyncDispose]();
	}

	/** The ways to the hosts, where `proxy` was asked for: `toA` is the one that mirror b uses. */
	get links(): { toA: TcpProxy; toB: TcpProxy } {
		if (this.#links === undefined) throw new Error("make the pair with { proxy: true }");
		return this.#links;
	}

	async openLinks(): Promise<{ toA: TcpProxy; toB: TcpProxy }> {
		const to = ({ address, sshd }: Host) =>
			TcpProxy.listen(address, { host: address, port: sshd.port });
		this.#links = { toA: await to(this.a), toB: await to(this.b) };
		return this.#links;
	}

	/** What clients of either host were told is done, in that order. */
	get acknowledged(): Acknowledged[] {
		const all = [...this.a.mailbox.acknowledged, ...this.b.mailbox.acknowledged];
		return all.sort((one, other) => one.at - other.at);
	}

	[Symbol.asyncDispose](): Promise<void> {
		return this.dispose();
	}

	#sweep(): void {
		sweep(this.directory, [this.a, this.b]);
	}

	readonly #interrupted = (name: NodeJS.Signals): void => {
		for (const each of this.#signals) process.off(each, this.#interrupted);
		this.#sweep();
		if (process.listenerCount(name) === 0) process.exit(128 + constants.signals[name]);
	};

	/** For a test that is killed: see watchdog.ts. */
	#watch(): void {
		const hosts = [this.a, this.b].flatMap(({ marker, directory }) => [marker, directory]);
		const child = spawn(
			process.execPath,
			[join(import.meta.dirname, "watchdog.ts"), this.directory, ...hosts],
			{ stdio: ["pipe", "ignore", "ignore"], detached: true, env: {} },
		);
		child.unref();
		(child.stdin as unknown as { unref(): void }).unref();
	}
}

/** Makes the two hosts. Use `await using`, so that nothing stays behind when a test fails. */
export async function createPair(options: PairOptions = {}): Promise<Pair> {
	const directory = mkdtempSync(join(shortDirectory(), "live-sync-"));
	const pair = await makeHosts(directory, options).catch((error: unknown) => {
		rmSync(directory, { recursive: true, force: true });
		throw error;
	});
	const { a, b } = pair;
	try {
		shareKey(a, b);
		const ports = { toA: a.sshd.port, toB: b.sshd.port };
		if (options.proxy === true) {
			const links = await pair.openLinks();
			[ports.toA, ports.toB] = [links.toA.port, links.toB.port];
		}
		writeConf(a, { host: b, port: ports.toB }, options.settings ?? {});
		writeConf(b, { host: a, port: ports.toA }, options.settings ?? {});
		install(a, {
			accounts: options.accounts ?? 3,
			ldap: options.ldap === undefined || options.ldap === true ? { writemap: true } : options.ldap,
			edition: options.edition ?? "foss",
			zimbraSettings: options.zimbraSettings ?? {},
		});
		if (options.copied !== false) await initialCopy(a, b);
		await Promise.all([a.boot({ zimbra: options.started !== false }), b.boot()]);
		return pair;
	} catch (error) {
		await pair.dispose();
		throw error;
	}
}

async function makeHosts(directory: string, options: PairOptions): Promise<Pair> {
	const pairId = randomBytes(6).toString("hex");
	const common = { pairId, directory, program: options.program ?? "source" };
	const host = async (name: "a" | "b", address: string) =>
		new Host({ ...common, name, address, port: await freePort(address) });
	const network = ownNetwork();
	return new Pair(directory, await host("a", `${network}.1`), await host("b", `${network}.2`));
}

/** The path of a unix socket has some hundred bytes, and those of a host lie deep. */
const shortDirectory = (): string => (tmpdir().length > 40 ? "/tmp" : tmpdir());

/** One key for both sides: it comes along with the initial copy of zimbra_home. */
function shareKey(...hosts: Host[]): void {
	const [first] = hosts;
	if (first === undefined) return;
	const source = first.path(".ssh/live_sync");
	const publicKey = makeKey(source, "live-syncd");
	for (const host of hosts) {
		if (host !== first) copyFileSync(source, host.path(".ssh/live_sync"));
		writeFileSync(host.path(".ssh/live_sync.pub"), `${publicKey} live-syncd\n`);
		// No blank inside the options: zmupdateauthkeys splits these lines at blanks.
		const forced = host.path("live_sync/sync_commands");
		writeFileSync(
			host.path(".ssh/authorized_keys"),
			`restrict,command="${forced}" ${publicKey} live-syncd\n`,
			{ mode: 0o600 },
		);
	}
}
