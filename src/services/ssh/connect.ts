import { readFile } from "node:fs/promises";
import ssh2, { type ClientChannel, type ConnectConfig, type ServerHostKeyAlgorithm } from "ssh2";
import { hasCode, Refusal } from "../../errors.ts";
import {
	findKnownHosts,
	type HostKeyVerdict,
	hostKeyAlgorithms,
	hostName,
	judgeHostKey,
} from "../../formats/ssh/known-hosts.ts";
import { deadline } from "../clock.ts";
import type { Config } from "../config.ts";
import { readIfThere } from "../files.ts";
import { dial, TurnedAway, Unanswered } from "./dial.ts";

/** An open ssh connection to the peer, on which commands can be run. */
export type SshLink = Disposable & {
	/** Asks for a command; what runs is what the forced command makes of it. */
	exec(command: string): Promise<ClientChannel>;
	/** Resolves when the connection is gone, with the reason where there is one. */
	readonly closed: Promise<Error | undefined>;
	close(): void;
};

/**
 * Connects to the other server as the configured user with our own key; the host key must stand
 * in our known_hosts.
 * Throws a {@link Refusal} (host-key, no-ssh-key, key-refused) or an Error that is worth a retry.
 */
export async function connect(config: Config, signal: AbortSignal): Promise<SshLink> {
	signal.throwIfAborted();
	const { settings, remoteAddress } = config;
	const name = hostName(remoteAddress, settings.ssh_port);
	const known = findKnownHosts((await readIfThere(config.base.knownHosts)) ?? "", name);
	if (known.length === 0) throw hostKeyRefusal(config, "unknown host");
	const privateKey = await readKey(config);

	const sock = await dial(remoteAddress, settings.ssh_port, settings.connect_timeout, signal);
	let verdict: HostKeyVerdict = "known";
	const client = new ssh2.Client();
	const options: ConnectConfig = {
		sock,
		host: remoteAddress,
		port: settings.ssh_port,
		username: settings.user,
		privateKey,
		readyTimeout: settings.connect_timeout,
		keepaliveInterval: settings.heartbeat_interval,
		keepaliveCountMax: Math.ceil(settings.link_timeout / settings.heartbeat_interval),
		hostVerifier: (key: Buffer) => {
			verdict = judgeHostKey(known, key);
			return verdict === "known";
		},
		// ssh2's defaults still offer SHA-1; every sshd since OpenSSH 6.5 has these.
		algorithms: {
			serverHostKey: hostKeyAlgorithms(known) as ServerHostKeyAlgorithm[],
			kex: [
				"curve25519-sha256",
				"curve25519-sha256@libssh.org",
				"ecdh-sha2-nistp256",
				"diffie-hellman-group16-sha512",
				"diffie-hellman-group14-sha256",
			],
			cipher: ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes256-ctr"],
			hmac: ["hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256"],
			compress: ["none"],
		},
	};

	let reason: Error | undefined;
	const closed = new Promise<Error | undefined>((resolve) => {
		client.on("close", () => resolve(reason));
	});
	const end = () => client.destroy();
	signal.addEventListener("abort", end);
	void closed.then(() => signal.removeEventListener("abort", end));
	await new Promise<void>((resolve, reject) => {
		const lost = () =>
			reject(signal.aborted ? signal.reason : new Error("the connection was closed"));
		client.once("ready", resolve).once("close", lost);
		client.on("error", (error) => {
			reason ??= error;
			reject(tellSilence(explain(error, verdict, config), error, sock.bytesRead));
		});
		client.connect(options);
	}).catch((error: unknown) => {
		client.destroy();
		throw error;
	});
	return {
		exec: (command) =>
			new Promise((resolve, reject) => {
				client.exec(command, (error, channel) => (error ? reject(error) : resolve(channel)));
				void closed.then(() => reject(reason ?? new Error("the connection was closed")));
			}),
		closed,
		close: end,
		[Symbol.dispose]: end,
	};
}

export type Answer = {
	readonly exitCode: number;
	readonly stdout: string;
	readonly stderr: string;
};

/** Runs one command on the peer and gives its whole, short answer. */
export async function ask(
	config: Config,
	command: string,
	signal: AbortSignal,
	timeoutMs = config.settings.connect_timeout,
): Promise<Answer> {
	const { remoteAddress, settings } = config;
	const late = deadline(
		timeoutMs,
		`${remoteAddress} port ${settings.ssh_port} did not answer \`${command}\``,
	);
	const either = AbortSignal.any([signal, late]);
	using link = await connect(config, either);
	const channel = await link.exec(command).catch((error: unknown) => {
		throw either.aborted ? either.reason : error;
	});
	channel.end();
	return await new Promise((resolve, reject) => {
		let stdout = "";
		let stderr = "";
		let exitCode: number | undefined;
		const limit = 1 << 20;
		channel.setEncoding("utf8");
		channel.stderr.setEncoding("utf8");
		channel.on("data", (text: string) => {
			if (stdout.length < limit) stdout += text;
		});
		channel.stderr.on("data", (text: string) => {
			if (stderr.length < limit) stderr += text;
		});
		channel.on("exit", (code: number | null) => {
			exitCode = code ?? -1;
		});
		// Without an exit code it was the connection that ended, and what came is no whole answer.
		channel.on("close", () => exitCode !== undefined && resolve({ exitCode, stdout, stderr }));
		void link.closed.then((reason) =>
			reject(either.aborted ? either.reason : (reason ?? new Error("the connection was closed"))),
		);
	});
}

async function readKey({ settings, base }: Config): Promise<Buffer> {
	const path = settings.ssh_key;
	const make = `ssh-keygen -t ed25519 -N "" -C live-syncd -f ${path}, then put its .pub into authorized_keys of both servers, see README.md (base ${base.base})`;
	const key = await readFile(path).catch((error: unknown) => {
		if (!hasCode(error, "ENOENT", "EACCES", "EISDIR")) throw error;
		const message = `the key ${path} cannot be read`;
		throw new Refusal("no-ssh-key", message, make, { cause: error });
	});
	const parsed = ssh2.utils.parseKey(key);
	if (!(parsed instanceof Error)) return key;
	throw new Refusal(
		"no-ssh-key",
		`the key ${path} cannot be used`,
		`if it has a passphrase, take it away: ssh-keygen -p -N "" -f ${path}; if it is no key, move it away and make one: ${make}`,
		{ cause: parsed },
	);
}

function explain(error: Error, verdict: HostKeyVerdict, config: Config): Error {
	if (verdict !== "known") return hostKeyRefusal(config, verdict);
	// The host has no key of the pinned type, so it has another one.
	if (error.message.includes("no matching host key")) return hostKeyRefusal(config, "other key");
	const { settings, remoteAddress } = config;
	if ("level" in error && error.level === "client-authentication") {
		return new Refusal(
			"key-refused",
			`${settings.user}@${remoteAddress} does not accept the key ${settings.ssh_key}`,
			`on ${remoteAddress}, ~${settings.user}/.ssh/authorized_keys needs: restrict,command="${config.base.base}/sync-commands" followed by ${settings.ssh_key}.pub`,
		);
	}
	const port = settings.ssh_port;
	return new Error(`no ssh connection to ${remoteAddress} port ${port}`, { cause: error });
}

/** How soon it is worth another try depends on whether a server has answered at all. */
function tellSilence(explained: Error, error: Error, heardBytes: number): Error {
	if (explained instanceof Refusal) return explained;
	const { message, cause } = explained;
	if (heardBytes > 0) return new TurnedAway(message, { cause });
	const silent = "level" in error && error.level === "client-timeout";
	return silent ? new Unanswered(message, { cause }) : explained;
}

function hostKeyRefusal(config: Config, verdict: HostKeyVerdict): Refusal {
	const { base, remoteAddress, settings } = config;
	const name = hostName(remoteAddress, settings.ssh_port);
	const scan = `ssh-keyscan -t ed25519 -p ${settings.ssh_port} ${remoteAddress} >>${base.knownHosts}`;
	const compare = "and compare the fingerprint (ssh-keygen -lf) with the one shown on that server";
	if (verdict === "unknown host") {
		return new Refusal(
			"host-key",
			`${base.knownHosts} has no entry for ${name}`,
			`${scan} ${compare}`,
		);
	}
	return new Refusal(
		"host-key",
		verdict === "revoked"
			? `${name} shows a host key that ${base.knownHosts} marks as revoked`
			: `${name} shows another host key than the one in ${base.knownHosts}: a new installation, or another machine in its place`,
		`if the change is known: ssh-keygen -R '${name}' -f ${base.knownHosts}; ${scan}; ${compare}`,
	);
}
