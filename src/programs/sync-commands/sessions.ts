import { describe } from "../../errors.ts";
import { canonicalAddress, isAddress } from "../../formats/address.ts";
import type { Verb } from "../../formats/protocol/request.ts";
import type { Config } from "../../services/config.ts";
import { sendSignal, waitForEnd } from "../../services/processes.ts";
import { beginSession, livingSessions, type Session } from "../../services/sessions.ts";
import type { ServedLog } from "./context.ts";

/** A request that is still being read from standard input counts as one of these. */
export type SessionKind = Verb | "request";

/**
 * How many sessions of a kind there may be: two mirrors, and for each a session whose end sshd has not
 * noticed yet. Each takes 50 MB, and whoever has the key could start hundreds.
 */
const most = 4;
/** These take moments; both loops of each mirror and whatever watches this server ask at the same time. */
const mostShort = 12;
const short: ReadonlySet<SessionKind> = new Set(["hello", "test", "request"]);

/** A session that was told to end has this long before it counts again. */
const endMs = 1000;

/** There are as many sessions of this kind as there may be. */
export class Busy extends Error {}

/**
 * Makes this session known, until it is disposed of.
 *
 * A mirror whose connection broke comes back before its old session has noticed: the new stream ends the
 * old one of the same mirror from the same address. Of the other kinds the oldest of the same address
 * gives way where there is no place left; never one of another client.
 * Throws {@link Busy}.
 */
export async function enterSession(
	config: Config,
	verb: SessionKind,
	{ log, mirror = "" }: { log: ServedLog; mirror?: string },
): Promise<Disposable> {
	const client = clientAddress();
	const limit = short.has(verb) ? mostShort : most;
	let session: Disposable | undefined;
	try {
		session = beginSession(config, { verb, client, mirror });
	} catch (error) {
		// On a full disk the mirror needs its redo log more than ever; the others still count.
		log("warn", "this session could not be counted", { reason: describe(error) });
	}
	const others = () =>
		livingSessions(config).filter((each) => each.verb === verb && each.process.pid !== process.pid);
	const before = others();
	const own = before.filter((each) => each.client === client && each.mirror === mirror);
	const full = before.length >= limit;
	const given = verb === "stream_from" ? own : full && !short.has(verb) ? own.slice(0, 1) : [];
	await endAll(given, verb, log);
	if (given.length < 1 ? full : others().length >= limit) {
		session?.[Symbol.dispose]();
		throw new Busy(
			`busy: ${limit} sessions of ${verb} run already, as many as there may be; try again later`,
		);
	}
	return session ?? { [Symbol.dispose]: () => undefined };
}

async function endAll(sessions: readonly Session[], verb: string, log: ServedLog): Promise<void> {
	for (const { process, client, mirror } of sessions) {
		log("info", "ends an older session of the same client", {
			request: verb,
			pid: process.pid,
			client,
			...(mirror === "" ? {} : { mirror }),
		});
		sendSignal(process, "SIGTERM");
	}
	await Promise.all(sessions.map(({ process }) => waitForEnd(process, endMs)));
}

/** Without ssh the client is somebody on this server: "". */
function clientAddress(): string {
	const [address = ""] = process.env.SSH_CONNECTION?.split(" ") ?? [];
	return isAddress(address) ? canonicalAddress(address) : "";
}
