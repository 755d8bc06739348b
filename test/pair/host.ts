import { type ChildProcess, spawn } from "node:child_process";
import {
	cpSync,
	existsSync,
	mkdirSync,
	readdirSync,
	readFileSync,
	renameSync,
	rmSync,
	writeFileSync,
} from "node:fs";
import { userInfo } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type CommittedOperation, committedIn } from "./committed.ts";
import { type Execution, readExecutions } from "./executions.ts";
import { mailOf } from "./install.ts";
import { MailboxClient } from "./mailbox-client.ts";
import { type HostProcess, killAll, lives, processesOf, signal } from "./processes.ts";
import { type Finished, runToEnd } from "./run.ts";
import type { ReplayFaults } from "./services/zmplayredo.ts";
import { Sshd } from "./sshd.ts";
import { dumpStore, type StoreDump } from "./store-dump.ts";

const pairDirectory = import.meta.dirname;
const projectDirectory = join(pairDirectory, "../..");

// What others can write is refused, and the umask of a developer may allow it.
process.umask(0o022);

/** Directories of an installed Zimbra that something here uses. */
const zimbraDirectories = [
	"redolog/archive",
	"store/0",
	"store/incoming",
	"data/ldap/config",
	"data/ldap/mdb/db",
	"data/ldap/state/run",
	"db/data",
	"index",
	"log",
	"conf",
	"mailboxd",
	"live_sync",
];

export type HostOptions = {
	readonly name: "a" | "b";
	readonly pairId: string;
	/** of the pair; the host lives below it */
	readonly directory: string;
	readonly address: string;
	readonly port: number;
	/** `source` runs bin/*.ts with the Node that runs the tests, `dist` the built executables */
	readonly program: "source" | "dist";
};

/**
 * One simulated Zimbra host: a directory, an sshd, and services that are processes of their own.
 * What stands below `home` is what an rsync of /opt/zimbra would take along; what makes this host
 * itself (its sshd, sockets, markers) stands beside it.
 */
export class Host {
	readonly name: "a" | "b";
	readonly address: string;
	readonly directory: string;
	/** zimbra_home */
	readonly home: string;
	readonly user = userInfo().username;
	/** each process of this host has LIVE_SYNC_HOST=<marker> in its environment */
	readonly marker: string;
	readonly sshd: Sshd;
	readonly environment: NodeJS.ProcessEnv;
	/** what clients of this host's mail server do */
	readonly mailbox: MailboxClient;
	#holder: number | undefined;
	#entered: readonly string[] = [];

	constructor(options: HostOptions) {
		this.name = options.name;
		this.address = options.address;
		this.directory = join(options.directory, options.name);
		this.home = join(this.directory, "zimbra");
		this.marker = `${options.pairId}-${options.name}`;
		for (const each of zimbraDirectories) mkdirSync(this.path(each), { recursive: true });
		mkdirSync(this.path(".ssh"), { mode: 0o700 });
		mkdirSync(join(this.directory, "run"));
		cpSync(join(pairDirectory, "commands"), this.home, { recursive: true });
		this.environment = {
			...withoutTestRunner(process.env),
			LIVE_SYNC_HOST: this.marker,
			LIVE_SYNC_PAIR: options.pairId,
			PAIR_HOST_DIRECTORY: this.directory,
			PAIR_NODE: process.execPath,
			PAIR_CODE: pairDirectory,
			PAIR_LIVE_SYNCD: program("live-syncd", options.program),
			PAIR_SYNC_COMMANDS: program("sync-commands", options.program),
		};
		this.#writeEnvironment();
		this.mailbox = new MailboxClient(this.directory, options.name);
		this.sshd = new Sshd({
			directory: join(this.directory, "sshd"),
			address: options.address,
			port: options.port,
			authorizedKeys: this.path(".ssh/authorized_keys"),
			home: this.home,
		});
	}

	/** A path below zimbra_home. */
	path(...below: string[]): string {
		return join(this.home, ...below);
	}

	get confFile(): string {
		return this.path("live_sync/live_sync.conf");
	}

	/** Runs one of this host's commands (`zmcontrol`, `ldap`, …) as an admin would, and waits for its end. */
	run(command: string, ...words: string[]): Promise<Finished> {
		const ours = ["bin", "libexec", "live_sync"].map((each) => this.path(each, command));
		const file = ours.find((each) => existsSync(each)) ?? command;
		const [first = "", ...rest] = [...this.#entering, file, ...words];
		return runToEnd(first, rest, { env: this.environment, cwd: this.home });
	}

	/** As {@link run}, and fails unless the command exits with 0. */
	async mustRun(command: string, ...words: string[]): Promise<string> {
		const { code, stdout, stderr } = await this.run(command, ...words);
		if (code === 0) return stdout;
		throw new Error(
			`${this.name}: ${command} ${words.join(" ")} exited ${code}: ${stdout}${stderr}`,
		);
	}

	/** `live-syncd --config … <words>` on this host, to its end. */
	liveSyncd(...words: string[]): Promise<Finished> {
		return this.run("live_syncd", ...words);
	}

	/** The same, left running: for the foreground, and for being killed. */
	spawnLiveSyncd(...words: string[]): ChildProcess {
		const [first = "", ...rest] = [...this.#entering, this.path("live_sync/live_syncd"), ...words];
		return spawn(first, rest, {
			env: this.environment,
			cwd: this.home,
			stdio: ["ignore", "pipe", "pipe"],
		});
	}

	/** `sync-commands --config … <words>` on this host without ssh. */
	syncCommands(...words: string[]): Promise<Finished> {
		return this.run("sync_commands", ...words);
	}

	/** Every process of this host. */
	processes(): HostProcess[] {
		return processesOf(this);
	}

	/** Those that belong neither to a service of Zimbra nor to sshd's listener: what a test for leaks must find empty. */
	strayProcesses(): HostProcess[] {
		const services = new Set([this.sshd.pid, this.#holder, ...this.servicePids()]);
		return this.processes().filter(({ pid }) => !services.has(pid));
	}

	/** Process ids of ldap, mysql and mailboxd, as far as they run. */
	servicePids(): number[] {
		const names = Object.keys(pidFiles) as (keyof typeof pidFiles)[];
		return names.flatMap((name) => this.servicePid(name) ?? []);
	}

	servicePid(name: keyof typeof pidFiles): number | undefined {
		const file = this.path(pidFiles[name]);
		const pid = existsSync(file) ? Number(readFileSync(file, "utf8")) : 0;
		return lives(pid) ? pid : undefined;
	}

	/** Starts sshd; with `zimbra`, also all of Zimbra, as at a reboot. */
	async boot({ zimbra = false } = {}): Promise<void> {
		await this.sshd.start(this.environment, this.#entering);
		if (zimbra) await this.startZimbra();
	}

	/** kill -9 of everything on this host, sshd included; what its database had not flushed is gone. */
	async crash(options: { tornAt?: number } = {}): Promise<void> {
		if (options.tornAt !== undefined) await this.crashMailboxd(options);
		killAll(this);
		this.mailbox.disconnect();
	}

	/**
	 * kill -9 of mailboxd alone. With `tornAt` it dies inside of a record, after so many pieces of at
	 * most 1,024 bytes, and needs an address to deliver that record to: user1 is taken.
	 */
	async crashMailboxd({ tornAt }: { tornAt?: number } = {}): Promise<void> {
		if (tornAt === undefined) {
			const pid = this.servicePid("mailboxd");
			if (pid !== undefined) signal(pid, "SIGKILL");
		} else {
			await this.mailbox.dieAt({ at: `record:${tornAt}` });
			const mail = { to: [mailOf(1)], size: tornAt * 1024 + 2000 };
			const answer = await this.mailbox.deliver(mail).catch(() => undefined);
			if (answer !== undefined) throw new Error("mailboxd did not die in the middle of a record");
		}
		while (this.servicePid("mailboxd") !== undefined) await sleep(5);
		this.mailbox.disconnect();
	}

	/** What an incremental backup of the Network Edition does: the archived redo logs move away. */
	moveArchivesToBackup(): string {
		const time = new Date().toISOString().replaceAll(/[-:Z]/g, "").replace("T", ".");
		const target = this.path("backup/sessions", `incr-${time}`, "redologs");
		mkdirSync(target, { recursive: true });
		const archive = this.path("redolog/archive");
		for (const name of readdirSync(archive)) renameSync(join(archive, name), join(target, name));
		return target;
	}

	/** Everything in this host's message store. */
	dumpStore(): Promise<StoreDump> {
		return dumpStore(this);
	}

	/** Every operation with a commit record in this host's redo logs, once. */
	committed(): CommittedOperation[] {
		return committedIn(this.path("redolog"));
	}

	/** What was carried out on this host's store, by mailboxd, its recovery or zmplayredo, in that order. */
	executions(): Execution[] {
		return readExecutions(join(this.directory, "executions.tsv"));
	}

	/** Lets zmplayredo misbehave on this host, whoever starts it, until told otherwise. */
	replayFaults(faults: ReplayFaults): void {
		this.#control("zmplayredo.json", JSON.stringify(faults));
	}

	/** Lets `ldap start` or `mysql.server start` fail in its own way (exit 1; "failed." and exit 0). */
	startFails(service: "ldap" | "mysql", fails: boolean): void {
		this.#control(`${service}.start-fails`, fails ? "" : undefined);
	}

	/** Lets one of the commands (`ldap`, `zmplayredo`, …) wait before it does anything, as a JVM does. */
	slow(command: string, seconds: number): void {
		this.#control(`${command}.sleep`, seconds > 0 ? String(seconds) : undefined);
	}

	/**
	 * Lets what is run on this host from now on see the mounts of that process: see small-disk.ts.
	 * @param more options of nsenter for what else it is to see
	 */
	enter(holder: number | undefined, more: readonly string[] = []): void {
		this.#holder = holder;
		this.#entered = more;
	}

	get #entering(): string[] {
		if (this.#holder === undefined) return [];
		const words = ["--user", "--mount", "--preserve-credentials", `--wdns=${this.home}`];
		return ["nsenter", "-t", String(this.#holder), ...words, ...this.#entered];
	}

	#control(file: string, content: string | undefined): void {
		const path = join(this.directory, "control", file);
		mkdirSync(join(this.directory, "control"), { recursive: true });
		if (content === undefined) {
			rmSync(path, { force: true });
			return;
		}
		// Whole for whoever reads it just now.
		writeFileSync(`${path}.new`, content);
		renameSync(`${path}.new`, path);
	}

	/** SIGSTOP for every process: a host that hangs, with its connections open. {@link thaw} is the reverse. */
	freeze(): void {
		for (const { pid } of this.processes()) signal(pid, "SIGSTOP");
	}

	thaw(): void {
		for (const { pid } of this.processes()) signal(pid, "SIGCONT");
	}

	/** `zmprov ca`: the account is in LDAP; its mailbox is made when its first mail comes. */
	async createAccount(mail: string): Promise<string> {
		return (await this.mustRun("zmprov", "-l", "ca", mail, "secret")).trim();
	}

	async startZimbra(): Promise<void> {
		await this.mustRun("zmcontrol", "start");
	}

	/** A clean stop, which always rolls the redo log over. */
	async stopZimbra(): Promise<void> {
		this.mailbox.disconnect();
		await this.mustRun("zmcontrol", "stop");
	}

	#writeEnvironment(): void {
		const own = Object.entries(this.environment).filter(([name]) =>
			/^(LIVE_SYNC_|PAIR_|NODE_COMPILE_CACHE$)/.test(name),
		);
		const lines = own.map(([name, value]) => `export ${name}='${value}'\n`);
		writeFileSync(join(this.directory, "host.env"), lines.join(""));
	}
}

/** Where each service has its pid file, below zimbra_home. */
export const pidFiles = {
	ldap: "data/ldap/state/run/slapd.pid",
	mysql: "db/mysql.pid",
	mailboxd: "log/zmmailboxd.pid",
} as const;

/** The test runner's own variables would make a node that a service starts behave as a test. */
function withoutTestRunner(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
	const { NODE_TEST_CONTEXT: _, NODE_OPTIONS: __, ...rest } = environment;
	return rest;
}

function program(name: string, form: "source" | "dist"): string {
	return form === "dist"
		? join(projectDirectory, "dist", name)
		: `${process.execPath} ${join(projectDirectory, "bin", `${name}.ts`)}`;
}
