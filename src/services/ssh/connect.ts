import { open } from "node:fs/promises";
import type { Socket } from "node:net";
import ssh2, { type ClientChannel, type ConnectConfig, type ServerHostKeyAlgorithm } from "ssh2";
import { hasCode, Refusal, Trouble } from "../../errors.ts";
import { foreignLines, foreignWords } from "../../formats/foreign-words.ts";
import type { Asked } from "../../formats/protocol/answers.ts";
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
import type { PeerConfig } from "../peer-config.ts";
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
export async function connect(config: PeerConfig, signal: AbortSignal): Promise<SshLink> {
	signal.throwIfAborted();
	const { settings, remoteAddress } = config;
	const known = await readKnownHost(config);
	const privateKey = await readKey(config);

	const socket = await dial(remoteAddress, settings.ssh_port, settings.connect_timeout, signal);
	const facts: LoginFacts = { verdict: "known", heardBytes: () => socket.bytesRead, said: [] };
	const client = new ssh2.Client();
	client.on("banner", (words) => facts.said.push(words.slice(0, 4000)));
	// As ssh2 does with a socket of its own.
	socket.setMaxListeners(0);
	listenBeforeSsh(socket, facts);
	const options: ConnectConfig = {
		sock: socket,
		username: settings.user,
		privateKey,
		readyTimeout: settings.connect_timeout,
		keepaliveInterval: settings.heartbeat_interval,
		keepaliveCountMax: Math.ceil(settings.link_timeout / settings.heartbeat_interval),
		hostVerifier: (key: Buffer) => {
			facts.verdict = judgeHostKey(known, key);
			return facts.verdict === "known";
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
			reject(signal.aborted ? signal.reason : explain(new Error("it was closed"), facts, config));
		client.once("ready", resolve).once("close", lost);
		client.on("error", (error) => {
			// What sshd or the library says goes into a message of ours, whoever takes it.
			error.message = foreignWords(error.message);
			reason ??= error;
			reject(explain(error, facts, config));
		});
		client.connect(options);
	}).catch((error: unknown) => {
		client.destroy();
		throw error;
	});
	return {
		exec: (command) =>
			new Promise((resolve, reject) => {
				client.exec(command, (error, channel) =>
					error ? reject(noChannel(error, command, config)) : resolve(channel),
				);
				void closed.then(() => reject(reason ?? new Error("the connection was closed")));
			}),
		closed,
		close: end,
		[Symbol.dispose]: end,
	};
}

/** Who answers at the other end of a link, for messages. */
export const askedOf = ({ base, remoteAddress, settings }: PeerConfig): Asked => ({
	host: remoteAddress,
	user: settings.user,
	program: `${base.base}/sync-commands`,
});

export type Answer = {
	readonly exitCode: number;
	readonly stdout: string;
	readonly stderr: string;
};

/** Runs one command on the peer and gives its whole, short answer. */
export async function ask(
	config: PeerConfig,
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

/** Our host keys of the other server. Throws a {@link Refusal} (host-key) where there is none. */
export async function readKnownHost(
	config: PeerConfig,
): Promise<ReturnType<typeof findKnownHosts>> {
	const name = hostName(config.remoteAddress, config.settings.ssh_port);
	const known = findKnownHosts((await readIfThere(config.base.knownHosts)) ?? "", name);
	if (known.length === 0) throw hostKeyRefusal(config, "unknown host");
	return known;
}

/**
 * Reads the private key. As ssh does, it takes none that others may read or write (ssh(1), FILES): the
 * ssh of rsync would pass it over, and LDAP would not be copied.
 */
export async function readKey({ settings, base }: Config): Promise<Buffer> {
	const path = settings.ssh_key;
	const make = `ssh-keygen -t ed25519 -N "" -C live-syncd -f ${path}, then put its .pub into authorized_keys of both servers, see README.md (base ${base.base})`;
	const { key, uid, mode } = await readWithRights(path).catch((error: unknown) => {
		if (!hasCode(error, "ENOENT", "EACCES", "EISDIR")) throw error;
		const message = `the key ${path} cannot be read`;
		throw new Refusal("no-ssh-key", message, make, { cause: error });
	});
	const parsed = ssh2.utils.parseKey(key);
	if (parsed instanceof Error) {
		throw new Refusal(
			"no-ssh-key",
			`the key ${path} cannot be used`,
			`if it has a passphrase, take it away: ssh-keygen -p -N "" -f ${path}; if it is no key, move it away and make one: ${make}`,
			{ cause: parsed },
		);
	}
	const own = process.getuid?.() ?? uid;
	if (uid !== own && uid !== 0) {
		throw new Refusal(
			"no-ssh-key",
			`the key ${path} belongs to another user (uid ${uid}), who may read and change it`,
			`as root: chown ${settings.user} ${path}; if that user is not to be trusted, make a new key: ${make}`,
		);
	}
	// One of root's that our group may read is as safe as one of our own.
	const forbidden = uid === own ? 0o077 : 0o027;
	if ((mode & forbidden) !== 0) {
		const octal = (mode & 0o777).toString(8).padStart(4, "0");
		throw new Refusal(
			"no-ssh-key",
			`the key ${path} may be read or written by others (mode ${octal}); ssh, with which rsync connects, does not take such a key`,
			`chmod 600 ${path}; if others may have read it, make a new one: docs/security.md`,
		);
	}
	return key;
}

async function readWithRights(path: string) {
	await using file = await open(path, "r");
	const { uid, mode } = await file.stat();
	return { key: await file.readFile(), uid, mode };
}

/** What is seen of a login. */
type LoginFacts = {
	verdict: HostKeyVerdict;
	/** how much the other end has said, of whatever kind */
	heardBytes: () => number;
	/** before and beside the protocol: sshd's refusals, banners, what PAM says of an account */
	said: string[];
};

/** More is no refusal of an sshd: RFC 4253, 4.2 lets it say something before its version. */
const mostBeforeSsh = 4096;

/**
 * Hears what comes before the version of ssh, such as "Exceeded MaxStartups" and "Not allowed at this
 * time" (sshd.c of OpenSSH), which ssh2 keeps for itself where no version follows.
 */
function listenBeforeSsh(socket: Socket, facts: LoginFacts): void {
	let text = "";
	const take = (bytes: Buffer) => {
		text += bytes.toString("latin1");
		const version = /^SSH-/m.exec(text);
		facts.said[0] = text.slice(0, version?.index ?? mostBeforeSsh);
		if (version !== null || text.length > mostBeforeSsh) socket.off("data", take);
	};
	facts.said.push("");
	// Paused until ssh2 listens, too, or it would miss what comes before.
	socket.pause().on("data", take);
}

function explain(error: Error, facts: LoginFacts, config: PeerConfig): Error {
	const { verdict, heardBytes } = facts;
	if (verdict !== "known") return hostKeyRefusal(config, verdict);
	// The host has no key of the pinned type, so it has another one.
	if (error.message.includes("no matching host key")) return hostKeyRefusal(config, "other key");
	const { settings, remoteAddress: host, base } = config;
	const { user, ssh_port: port } = settings;
	const words = foreignLines(facts.said.join("\n"));
	const said = words === "" ? "" : `; it said "${words}"`;
	const level = "level" in error ? error.level : undefined;
	if (level === "client-authentication") {
		return new Refusal(
			"key-refused",
			`${user}@${host} does not accept the key ${settings.ssh_key}${said}`,
			`on ${host}, ~${user}/.ssh/authorized_keys needs: restrict,command="${base.base}/sync-commands" followed by ${settings.ssh_key}.pub; that file, ~${user}/.ssh and ~${user} must be writable by ${user} alone; sshd_config must let ${user} in (AllowUsers, AllowGroups, DenyUsers) with such a key (PubkeyAcceptedAlgorithms); the log of sshd there names the reason (journalctl -t sshd)`,
		);
	}
	if (level === "client-timeout") {
		const Kind = heardBytes() > 0 ? TurnedAway : Unanswered;
		return new Kind(
			`the login of ${user} on ${host} port ${port} was not over after ${settings.connect_timeout / 1000} s (connect_timeout)${said}`,
			`look at what makes it slow there (UseDNS in sshd_config, PAM, load; the log of sshd), or set a longer connect_timeout in live_sync.conf`,
		);
	}
	const message = `no ssh connection to ${host} port ${port}`;
	if (words === "") {
		return heardBytes() > 0
			? new TurnedAway(message, undefined, { cause: error })
			: new Error(message, { cause: error });
	}
	return new TurnedAway(
		`${message}${said}`,
		`these are the words of sshd or PAM on ${host}; the log of sshd there tells more (journalctl -t sshd)`,
		{ cause: error },
	);
}

function noChannel(error: Error, command: string, { remoteAddress }: PeerConfig): Error {
	const [verb] = command.split(" ");
	return new Trouble(
		`${remoteAddress} accepts the login, but refuses to run \`${verb}\`: ${foreignWords(error.message)}`,
		`on ${remoteAddress}, MaxSessions in sshd_config must be at least 1 (10 as shipped)`,
	);
}

function hostKeyRefusal(config: PeerConfig, verdict: HostKeyVerdict): Refusal {
	const { base, remoteAddress, settings } = config;
	const name = hostName(remoteAddress, settings.ssh_port);
	// All kinds that we can use: a host may have keys of one kind only.
	const scan = `ssh-keyscan -t ed25519,ecdsa,rsa -p ${settings.ssh_port} ${remoteAddress} >>${base.knownHosts}`;
	const compare = `and compare the fingerprints (ssh-keygen -lf ${base.knownHosts}) with those shown on that server itself: for key in /etc/ssh/ssh_host_*_key.pub; do ssh-keygen -lf $key; done`;
	if (verdict === "unknown host") {
		return new Refusal(
			"host-key",
			`${base.knownHosts} has no entry for ${name}`,
			`${scan} ${compare}`,
		);
	}
	if (verdict === "revoked") {
		return new Refusal(
			"host-key",
			`${name} shows a host key that ${base.knownHosts} marks as revoked`,
			`somebody has marked that key as no longer to be trusted, and the line stays until a person takes it away; give that server a new host key, then here: ${scan} ${compare}`,
		);
	}
	return new Refusal(
		"host-key",
		`${name} shows another host key than the one in ${base.knownHosts}: a new installation, or another machine in its place`,
		`find out why first; only if the change is known: ssh-keygen -R '${name}' -f ${base.knownHosts}; ${scan} ${compare}`,
	);
}
