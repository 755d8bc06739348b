import { Refusal, Trouble } from "../../errors.ts";
import { foreignLines, foreignWords } from "../foreign-words.ts";
import { peerHint } from "./peer-hints.ts";

/**
 * What comes back from `ssh HOST hello` is not sync-commands' alone. The login shell that runs it may
 * print before it (.bashrc), with or without a line end; and sshd, PAM or another program may answer in
 * its place. So an answer is found by how it begins, in the answers of version 2.0.0 too.
 */
const answerBegins = {
	hello: '{"protocol":',
	settings: '{"settings":',
	ldap_changes: '{"kind":"hello"',
	ldap_snapshot: '{"transactionIds":',
} as const;

export type FoundAnswer = {
	/** one line */
	readonly answer: string;
	/** what was printed before it, for people; empty where nothing was */
	readonly noise: string;
};

/** The answer in what came; undefined where there is none. */
export function findAnswer(
	text: string,
	request: keyof typeof answerBegins,
): FoundAnswer | undefined {
	const at = text.indexOf(answerBegins[request]);
	if (at < 0) return undefined;
	const end = text.indexOf("\n", at);
	return {
		answer: end < 0 ? text.slice(at) : text.slice(at, end),
		noise: foreignLines(text.slice(0, at)),
	};
}

/**
 * Of what came on standard error, the sentences of sync-commands. A shell that cannot set its locale,
 * or a `stty` in .bashrc, prints there too, and means nothing.
 */
export function ownSentences(stderr: string): string[] {
	return stderr
		.split("\n")
		.filter((line) => line.startsWith("sync-commands: "))
		.map((line) => foreignWords(line.slice("sync-commands: ".length)))
		.filter((line) => line !== "");
}

/** Who was asked, and how our key is let in there. */
export type Asked = {
	readonly host: string;
	readonly user: string;
	/** what the forced command must be */
	readonly program: string;
};

export type Output = {
	readonly stdout: string;
	readonly stderr: string;
	readonly exitCode?: number | undefined;
};

/**
 * Why a request was not answered, by whoever spoke in place of an answer: sync-commands itself, the
 * script of 2011, or sshd, PAM and the login shell.
 */
export function explainNoAnswer(asked: Asked, request: string, output: Output): Error {
	const { host } = asked;
	const own = ownSentences(output.stderr);
	const words = foreignLines(`${output.stdout}\n${output.stderr}`);
	if (isOfScriptOf2011(output) || own.some((each) => each.includes("unknown request"))) {
		return new Refusal(
			"old-agent",
			`${host} does not know \`${request}\`: it has the sync_commands of 2011, or an older version; it said "${words}"`,
			`install the same version of live-syncd on ${host}, and let the line of the key in authorized_keys begin: restrict,command="${asked.program}"`,
		);
	}
	if (own.length > 0) {
		const code = own.flatMap((each) => /\[([a-z-]+)\]$/.exec(each)?.[1] ?? []).at(-1);
		return new Trouble(`${host} says to \`${request}\`: ${own.join("; ")}`, peerHint(code));
	}
	if (words === "" && output.exitCode === undefined) {
		return new Error(`${host}: the connection was closed before \`${request}\` was answered`);
	}
	const how = output.exitCode === undefined ? "" : `, and exited with ${output.exitCode}`;
	const said = words === "" ? "nothing was said" : `it was said "${words}"`;
	return new Trouble(
		`${host} did not answer \`${request}\`: ${said}${how}`,
		`sync-commands says nothing of this kind: on ${host} look at the login shell of ${asked.user}, at /run/nologin, and whether ${asked.program} is there and the line of the key in authorized_keys names it; the log of sshd tells more (journalctl -t sshd)`,
	);
}

/**
 * It hands what it does not know to rsync without words, which tells its version and how it is used; or
 * bash names the script and its line, where rsync is missing.
 */
const isOfScriptOf2011 = ({ stdout, stderr }: Output): boolean =>
	/^rsync {1,2}version |^Usage: rsync |\bsync_commands: line \d+:/m.test(`${stdout}\n${stderr}`);

/**
 * What to say of a login shell that prints before each answer. Ours are found all the same; rsync has
 * a protocol of its own, which such words break.
 */
export function noisyShell({ host, user }: Asked, noise: string): Refusal {
	return new Refusal(
		"noisy-shell",
		`the login shell of ${user} on ${host} prints "${noise}" before every answer, and rsync, by which LDAP is copied, cannot work with that`,
		silence(host, user),
	);
}

const silence = (host: string, user: string): string =>
	`on ${host}, let ~/.bashrc of ${user} and what it reads print nothing where nobody types: let it begin with: case $- in *i*) ;; *) return ;; esac`;

/** The same, where rsync has met it; undefined where that is not what it tells. */
export function uncleanShell({ host, user }: Asked, said: string): Refusal | undefined {
	if (!said.includes("is your shell clean?")) return undefined;
	return new Refusal(
		"noisy-shell",
		`something else than rsync answers rsync on ${host}, such as words that the login shell of ${user} prints: ${foreignLines(said)}`,
		silence(host, user),
	);
}
