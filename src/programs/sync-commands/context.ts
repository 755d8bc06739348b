import type { Readable } from "node:stream";
import type { Request, Verb } from "../../formats/protocol/request.ts";
import type { Config } from "../../services/config.ts";

/** What a verb is given. */
export type Context = {
	readonly config: Config;
	/** standard input, from behind the request where that came on it */
	readonly input: () => Readable;
	/** aborts when the client is gone, or when the program is told to end */
	readonly signal: AbortSignal;
	/** one line in log/sync_commands.log */
	readonly log: ServedLog;
};

export type ServedLog = (
	level: "info" | "warn" | "error",
	sentence: string,
	facts?: Readonly<Record<string, unknown>>,
) => void;

export type RequestOf<V extends Verb> = Extract<Request, { verb: V }>;

/** Serves one request and returns the exit code. What it throws is told to the client, exit code 1. */
export type Serve<V extends Verb> = (request: RequestOf<V>, context: Context) => Promise<number>;
