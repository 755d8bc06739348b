import type { Readable } from "node:stream";
import { describe, hasCode, hintOf, Refusal } from "../../errors.ts";
import { foreignLines, foreignWords } from "../../formats/foreign-words.ts";
import { findRequest, type Parsed, parseRequest } from "../../formats/protocol/request.ts";
import { type Config, checkUser, findConfigFile, loadConfig } from "../../services/config.ts";
import { onServer, readNotices } from "../../services/manual.ts";
import { programPath } from "../../services/own-path.ts";
import { answer } from "../../services/standard-output.ts";
import { version } from "../../version.ts";
import { watchClient } from "./client.ts";
import type { ServedLog } from "./context.ts";
import { complain } from "./output.ts";
import { readRequestLine } from "./request-line.ts";
import { servedLog } from "./served-log.ts";
import { Busy, enterSession } from "./sessions.ts";
import { serveRequest } from "./verbs.ts";

/**
 * The forced command of the mirror's key: serves one request and gives the exit code, 0 served, 1
 * refused or failed, 75 too many sessions of this kind. Whatever the other host sends, nothing but the closed list of requests is done.
 * @param argv words of the forced command itself, from authorized_keys
 */
export async function main(argv: readonly string[]): Promise<number> {
	const options = parseOptions(argv);
	if (options === undefined) {
		complain("usage: sync-commands [--config FILE] [--version] [--licences] [REQUEST …]");
		return 1;
	}
	if (options.version) {
		await answer(`sync-commands ${version}\n`);
		return 0;
	}
	if (options.licences) {
		await answer(await readNotices());
		return 0;
	}
	let config: Config;
	try {
		// No variable tells where the file is: sshd may take variables from its client.
		config = await loadConfig(findConfigFile({ option: options.config, program: programPath() }));
		checkUser(config.settings);
	} catch (error) {
		tell(error);
		return 1;
	}
	const address = process.env.SSH_CONNECTION?.split(" ")[0];
	const log = servedLog(config.base.served, config.settings.log_format, { client: address });
	return await serve(config, options.words, log);
}

/** EX_TEMPFAIL of sysexits.h: it may be served later. */
const busyCode = 75;

async function serve(config: Config, words: readonly string[], log: ServedLog): Promise<number> {
	using client = watchClient(process.env.SSH_CONNECTION !== undefined);
	const { signal } = client;
	const source = findRequest(process.env.SSH_ORIGINAL_COMMAND, words);
	let text = source.kind === "text" ? source.text : "";
	try {
		if (source.kind === "stdin") {
			using _session = await enterSession(config, "request", { log });
			text = await readRequestLine(process.stdin);
		}
	} catch (error) {
		return refuse(text, describe(error), log, error instanceof Busy ? busyCode : 1);
	}
	const { request, refused } = parse(text, source.kind, config);
	if (refused !== undefined) return refuse(text, refused, log);
	log("info", "serving", { request: text.trim() });
	const input = (): Readable => process.stdin;
	try {
		const mirror = request.verb === "stream_from" ? request.stream.mirror : "";
		using _session = await enterSession(config, request.verb, { log, mirror });
		return await serveRequest(request, { config, input, signal, log });
	} catch (error) {
		if (error instanceof Busy) return refuse(text, error.message, log, busyCode);
		if (signal.aborted || hasCode(error, "EPIPE")) {
			log("info", "ended", { request: text.trim(), reason: reasonOf(signal, error) });
			return 1;
		}
		log("error", "failed", { request: text.trim(), reason: describe(error) });
		tell(error);
		return 1;
	}
}

function parse(text: string, from: "stdin" | "text", { base, zimbra }: Config): Parsed {
	const places = {
		rsyncDirectories: [`${zimbra.redolog}/`, `${zimbra.ldap}/`, `${base.ldapSnapshot}/`],
	};
	const parsed = parseRequest(text, places);
	// Standard input belongs to rsync's protocol, which may have been read beyond the line.
	if (from === "stdin" && parsed.request?.verb === "rsync") {
		return { refused: "Rejected: rsync is not served from standard input" };
	}
	return parsed;
}

/** Whoever has the key can be refused as often as he likes, and the log is on a disk. */
const longestRefused = 200;

function refuse(text: string, reason: string, log: ServedLog, code = 1): number {
	log("warn", "refused", {
		request: foreignWords(text, longestRefused),
		reason: foreignWords(reason, longestRefused),
	});
	complain(`sync-commands: refused: ${foreignLines(reason)}`);
	return code;
}

/** Each problem of a live_sync.conf is in one message. */
const longest = 4000;

/** Once, at the edge: what is wrong, and what to do about it. */
function tell(error: unknown): void {
	const code = error instanceof Refusal ? `  [${error.code}]` : "";
	// One line: the mirror takes those only that begin so.
	complain(`sync-commands: ${foreignLines(describe(error), longest)}${code}`);
	const hint = hintOf(error);
	if (hint !== undefined) complain(`  try: ${onServer(hint)}`);
}

const reasonOf = (signal: AbortSignal, error: unknown): string =>
	describe(signal.aborted ? signal.reason : error);

type Options = {
	readonly config: string | undefined;
	readonly version: boolean;
	readonly licences: boolean;
	readonly words: readonly string[];
};

/** Options stand before the request; undefined where they make no sense. */
function parseOptions(argv: readonly string[]): Options | undefined {
	let config: string | undefined;
	let at = 0;
	for (; argv[at]?.startsWith("-") === true; at++) {
		const word = argv[at];
		const told = { version: word === "--version", licences: word === "--licences" };
		if (told.version || told.licences) return { config, ...told, words: [] };
		if (word === "--config" && argv[at + 1] !== undefined) config = argv[++at];
		else if (word?.startsWith("--config=") === true) config = word.slice("--config=".length);
		else return undefined;
	}
	return { config, version: false, licences: false, words: argv.slice(at) };
}
