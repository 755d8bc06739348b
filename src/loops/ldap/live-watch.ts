import type { ClientChannel } from "ssh2";
import { Refusal } from "../../errors.ts";
import {
	decodeFromLdapSource,
	decodeSnapshot,
	type FromLdapSource,
	type LdapHello,
	type LdapLook,
	type LdapPasswords,
	type SnapshotAnswer,
} from "../../formats/ldap/wire.ts";
import { readLines } from "../../services/lines.ts";
import type { PeerConfig } from "../../services/peer-config.ts";
import { connect, type SshLink } from "../../services/ssh/connect.ts";

/** A look has less than 1 KB, and a snapshot some 150 bytes for each of its files. */
const longestLine = 1 << 20;
const longestAnswer = 4 << 20;

/** What the live server says about its LDAP directory, as it comes in. */
export type LiveWatch = Disposable & {
	readonly hello: LdapHello;
	/** aborts when the live server is not heard any more; the reason says why */
	readonly signal: AbortSignal;
	/** the newest look */
	look(): LdapLook;
	/** Resolves at the next look, after `timeoutMs`, or when the watch has ended. */
	next(timeoutMs: number): Promise<void>;
	/** A look that was taken after this call. */
	fresh(): Promise<LdapLook>;
};

export type WatchEvents = {
	readonly onLook: (look: LdapLook) => void;
	readonly onPasswords: (passwords: LdapPasswords) => void;
};

/**
 * Starts `ldap_changes` on the live server and returns with its first look. Each end notices within
 * link_timeout that the other is gone.
 */
export async function openWatch(
	link: SshLink,
	config: PeerConfig,
	events: WatchEvents,
): Promise<LiveWatch> {
	const { connect_timeout, heartbeat_interval, link_timeout } = config.settings;
	const channel = await link.exec("ldap_changes");
	const ended = new AbortController();
	let hello: LdapHello | undefined;
	let look: LdapLook | undefined;
	let heardAt = performance.now();
	let number = 0;
	let notify = Promise.withResolvers<void>();
	const ring = () => {
		notify.resolve();
		notify = Promise.withResolvers();
	};
	const end = (reason: Error) => {
		ended.abort(reason);
		ring();
	};
	const stderr = collect(channel);
	const take = (words: FromLdapSource) => {
		heardAt = performance.now();
		if (words.kind === "hello") hello = words;
		else if (words.kind === "passwords") events.onPasswords(words);
		else {
			look = words;
			events.onLook(words);
			ring();
		}
	};
	const misread = (error: unknown) =>
		end(new Error(`${config.remoteAddress} sent what ldap_changes never says`, { cause: error }));
	const onLine = (line: string) => {
		try {
			take(decodeFromLdapSource(line));
		} catch (error) {
			misread(error);
		}
	};
	readLines(channel, longestLine, { onLine, onTooLong: misread });
	const answerMs = Math.max(connect_timeout, link_timeout);
	const beat = () => {
		const silence = performance.now() - heardAt;
		if (silence > (look === undefined ? answerMs : link_timeout)) {
			end(new Error(`${config.remoteAddress} said nothing for ${Math.round(silence)} ms`));
			return;
		}
		number += 1;
		channel.write(`${number}\n`);
	};
	const timer = setInterval(beat, heartbeat_interval);
	channel.on("error", (error: Error) => end(error));
	channel.on("close", () => end(explainEnd(config, "ldap_changes", stderr())));
	void link.closed.then((reason) => end(reason ?? new Error("the connection was closed")));
	beat();

	const next = async (timeoutMs: number) => {
		if (ended.signal.aborted) return;
		const { promise } = notify;
		const { promise: late, resolve } = Promise.withResolvers<void>();
		const timeout = setTimeout(resolve, timeoutMs);
		await Promise.race([promise, late]);
		clearTimeout(timeout);
	};
	const newest = () => {
		ended.signal.throwIfAborted();
		if (look === undefined) throw new Error("no look has come");
		return look;
	};
	const close = () => {
		clearInterval(timer);
		channel.destroy();
		end(new Error("the watch was closed"));
	};
	try {
		while (look === undefined) {
			await next(answerMs);
			ended.signal.throwIfAborted();
		}
		if (hello === undefined) throw explainEnd(config, "ldap_changes", stderr());
	} catch (error) {
		close();
		throw error;
	}
	return {
		hello,
		signal: ended.signal,
		look: newest,
		next,
		async fresh() {
			number += 1;
			const wanted = number;
			channel.write(`${wanted}\n`);
			while (newest().heard < wanted) await next(link_timeout);
			return newest();
		},
		[Symbol.dispose]: close,
	};
}

/**
 * Has the live server make a snapshot, and returns what it says about it. It asks on a connection of its
 * own: with `MaxSessions 1` sshd refuses a second command on that of the watch.
 */
export async function requestSnapshot(
	config: PeerConfig,
	{ watch }: LdapHello,
	signal: AbortSignal,
): Promise<SnapshotAnswer> {
	const { command_timeout, ldap_copy_timeout } = config.settings;
	using link = await connect(config, signal);
	// Its input stays open: the end of it tells the live side that nobody waits any more. Before 2.1 the
	// live server has no name for the watch, and knows no words here.
	const channel = await link.exec(watch === undefined ? "ldap_snapshot" : `ldap_snapshot ${watch}`);
	const deadline = AbortSignal.any([
		signal,
		AbortSignal.timeout(2 * ldap_copy_timeout + command_timeout),
	]);
	const stderr = collect(channel);
	const closed = Promise.withResolvers<void>();
	let answer = "";
	let exitCode = -1;
	channel.setEncoding("utf8").on("data", (text: string) => {
		answer += text;
		if (answer.length > longestAnswer) {
			closed.reject(new Error(`${config.remoteAddress}: the answer of ldap_snapshot has no end`));
		}
	});
	channel.on("exit", (code: number | null) => {
		exitCode = code ?? -1;
	});
	channel.on("close", closed.resolve).on("error", closed.reject);
	const late = () => {
		closed.reject(
			signal.aborted
				? signal.reason
				: new Error(`${config.remoteAddress}: ldap_snapshot did not end in time`),
		);
	};
	if (deadline.aborted) late();
	deadline.addEventListener("abort", late, { once: true });
	try {
		await closed.promise;
		if (exitCode !== 0) throw explainEnd(config, "ldap_snapshot", stderr());
		return decodeSnapshot(answer);
	} finally {
		deadline.removeEventListener("abort", late);
		channel.destroy();
	}
}

/** Keeps the last words of the other side; they must be read, or the channel never closes. */
function collect(channel: ClientChannel): () => string {
	let text = "";
	channel.stderr.setEncoding("utf8").on("data", (piece: string) => {
		text = (text + piece).slice(-2000);
	});
	return () => text.trim();
}

function explainEnd({ remoteAddress }: PeerConfig, verb: string, said: string): Error {
	// The 2011 script hands what it does not know to rsync, which tells how it is used.
	if (/unknown request|rsync\s+version|Usage: rsync/i.test(said)) {
		return new Refusal(
			"old-agent",
			`${remoteAddress} does not know ${verb}: it has the sync_commands of 2011, or an older version`,
			`install the same version of live-syncd on ${remoteAddress}; LDAP is not followed until then`,
		);
	}
	const words = said === "" ? "without a word" : said.replaceAll("\n", " | ");
	return new Error(`${verb} on ${remoteAddress} ended: ${words}`);
}
