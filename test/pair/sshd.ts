import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/**
 * A real sshd on an address and port of its own. What differs from a stock one is only what lets it
 * run without root and below a temporary directory; its timeouts are the stock ones, so a session
 * whose client is gone lives on here as it does on a real server.
 */
export class Sshd {
	readonly #directory: string;
	readonly address: string;
	readonly port: number;
	/** as known_hosts wants it: type and key */
	readonly hostKey: string;
	#child: ChildProcess | undefined;

	constructor(at: {
		directory: string;
		address: string;
		port: number;
		authorizedKeys: string;
		/** of who logs in */
		home: string;
	}) {
		this.#directory = at.directory;
		this.address = at.address;
		this.port = at.port;
		mkdirSync(at.directory, { recursive: true });
		this.hostKey = makeKey(join(at.directory, "host_key"), "host");
		writeFileSync(
			join(at.directory, "sshd_config"),
			[
				`ListenAddress ${at.address}:${at.port}`,
				`HostKey ${join(at.directory, "host_key")}`,
				`PidFile ${join(at.directory, "sshd.pid")}`,
				`AuthorizedKeysFile ${at.authorizedKeys}`,
				"AuthenticationMethods publickey",
				"StrictModes no", // a temporary directory is writable by everyone
				"UsePAM no",
				"MaxStartups 200",
				"Subsystem sftp internal-sftp",
				// Not the tester's own: bash reads ~/.bashrc for a forced command, as on Debian.
				`SetEnv HOME=${at.home}`,
				...(knowsPenalties() ? ["PerSourcePenalties no"] : []),
				"",
			].join("\n"),
		);
	}

	get pid(): number | undefined {
		return this.#child?.pid;
	}

	/** @param prefix words in front of the command, such as those of nsenter */
	async start(environment: NodeJS.ProcessEnv, prefix: readonly string[] = []): Promise<void> {
		// As root, sshd insists on this directory, which a package makes when its service starts.
		if (process.getuid?.() === 0) mkdirSync("/run/sshd", { recursive: true, mode: 0o755 });
		const log = join(this.#directory, "sshd.log");
		const before = textOf(log).length;
		const config = join(this.#directory, "sshd_config");
		const words = [...prefix, "/usr/sbin/sshd", "-D", "-f", config, "-E", log];
		const child = spawn(words[0] ?? "", words.slice(1), {
			stdio: "ignore",
			env: environment,
			detached: true,
		});
		child.unref();
		this.#child = child;
		for (let i = 0; i < 1000 && child.exitCode === null && child.signalCode === null; i++) {
			// Not by a connection, whose process would be a stray one for a moment.
			if (textOf(log).slice(before).includes("Server listening on")) return;
			await sleep(10);
		}
		const { exitCode, signalCode } = child;
		throw new Error(
			`sshd did not start (exit code ${exitCode}, signal ${signalCode}): ${textOf(log).slice(before)}`,
		);
	}

	/** Ends the listener; sessions that are open go on, as with a real one. */
	async stop(): Promise<void> {
		const child = this.#child;
		this.#child = undefined;
		if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
		const ended = new Promise((resolve) => child.once("exit", resolve));
		child.kill("SIGTERM");
		await ended;
	}
}

/** Makes an ed25519 key without passphrase at `path`, and returns its public half. */
export function makeKey(path: string, comment: string): string {
	execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path]);
	const [type, key] = execFileSync("ssh-keygen", ["-y", "-f", path], { encoding: "utf8" })
		.trim()
		.split(" ");
	return `${type} ${key}`;
}

const textOf = (path: string): string => (existsSync(path) ? readFileSync(path, "utf8") : "");

/** PerSourcePenalties came with OpenSSH 9.8, and an older sshd refuses to start with it. */
function knowsPenalties(): boolean {
	const { stderr } = spawnSync("ssh", ["-V"], { encoding: "utf8" });
	const [, major, minor] = /OpenSSH_(\d+)\.(\d+)/.exec(stderr) ?? [];
	return Number(major) > 9 || (Number(major) === 9 && Number(minor) >= 8);
}
