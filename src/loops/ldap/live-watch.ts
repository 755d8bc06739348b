import type { ClientChannel } from "ssh2";
import { foreignLines } from "../../formats/foreign-words.ts";
import {
	decodeFromLdapSource,
	decodeSnapshot,
	type FromLdapSource,
	type LdapHello,
	type LdapLook,
	type LdapPasswords,
	type SnapshotAnswer,
} from "../../formats/ldap/wire.ts";
import { explainNoAnswer, findAnswer, ownSentences } from "../../formats/protocol/answers.ts";
import { readLines } from "../../services/lines.ts";
import type { PeerConfig } from "../../services/peer-config.ts";
import { askedOf, type SshLink } from "../../services/ssh/connect.ts";

/** What the live server says about its LDAP directory, as it comes in. */
export type LiveWatch = Disposable & {
	readonly hello: LdapHello;
	/** what the live user's shell prints before each answer; empty where it is silent */
	readonly noise: string;
	/** aborts when the live server is not heard any more; the reason says why */
	readonly signal: AbortSignal;
	/** the newest look */
	look(): LdapLook;
	/** Resolves at the next look, after `timeoutMs`, or when the watch has ended. */
	next(timeoutMs: number): Promise<void>;
	/** A look that was taken after this call. */
	fresh(): Promise<LdapLook>;
};

/** A look names each environment of the directory, and there are few. */
const longestLine = 1 << 20;
/** A snapshot names each file of cn=config: some hundred. */
const longestSnapshot = 1 << 22;
/** What the shell may print before the first word. */
const mostNoise = 1 << 16;

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
	let exitCode: number | undefined;
	channel.on("exit", (code: number | null) => {
		exitCode = code ?? -1;
	});
	const why = () => {
		const output = { stdout: noise, stderr: stderr(), exitCode };
		if (hello === undefined || ownSentences(output.stderr).length > 0) {
			return explainNoAnswer(askedOf(config), "ldap_changes", output);
		}
		return new Error(`ldap_changes on ${config.remoteAddress} ended without a word`);
	};
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
	let noise = "";
	const hear = (line: string) => {
		if (hello !== undefined) return take(decodeFromLdapSource(line));
		const found = findAnswer(line, "ldap_changes");
		noise = `${noise}${found?.noise ?? line}\n`;
		if (found !== undefined) take(decodeFromLdapSource(found.answer));
		else if (noise.length > mostNoise)
			throw new Error("its shell printed more than 64 KiB before the first answer");
	};
	const never = (error: unknown) =>
		end(new Error(`${config.remoteAddress} sent what ldap_changes never says`, { cause: error }));
	readLines(channel, longestLine, {
		onLine(line) {
			try {
				hear(line);
			} catch (error) {
				never(error);
			}
		},
		onTooLong: never,
	});
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
	channel.on("close", () => end(why()));
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
		if (hello === undefined) throw why();
	} catch (error) {
		close();
		throw error;
	}
	return {
		hello,
		noise: foreignLines(noise),
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
 * Has the live server make a snapshot, and returns what it says about it.
 * @param watch its name; before 2.1 the live server has none for it, and knows no words here
 */
export async function requestSnapshot(
	link: SshLink,
	config: PeerConfig,
	signal: AbortSignal,
	watch?: string,
): Promise<SnapshotAnswer> {
	const { command_timeout, ldap_copy_timeout } = config.settings;
	// Its input stays open: the end of it tells the live side that nobody waits any more.
	const channel = await link.exec(watch === undefined ? "ldap_snapshot" : `ldap_snapshot ${watch}`);
	const deadline = AbortSignal.any([
		signal,
		AbortSignal.timeout(2 * ldap_copy_timeout + command_timeout),
	]);
	const stderr = collect(channel);
	let answer = "";
	let exitCode: number | undefined;
	const closed = Promise.withResolvers<void>();
	channel.setEncoding("utf8").on("data", (text: string) => {
		answer += text;
		if (answer.length <= longestSnapshot) return;
		closed.reject(new Error(`${config.remoteAddress} sent what ldap_snapshot never says`));
		channel.destroy();
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
		const found = findAnswer(answer, "ldap_snapshot");
		if (exitCode !== 0 || found === undefined) {
			const output = { stdout: answer, stderr: stderr(), exitCode };
			throw explainNoAnswer(askedOf(config), "ldap_snapshot", output);
		}
		return decodeSnapshot(found.answer);
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
	return () => text;
}
