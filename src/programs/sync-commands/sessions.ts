import { describe } from "../../errors.ts";
import { canonicalAddress, isAddress } from "../../formats/address.ts";
import type { Verb } from "../../formats/protocol/request.ts";
import type { Config } from "../../services/config.ts";
import {
	ownIdentity,
	type ProcessIdentity,
	sendSignal,
	waitForEnd,
} from "../../services/processes.ts";
import { beginSession, livingSessions, type Session } from "../../services/sessions.ts";
import type { ServedLog } from "./context.ts";

/** A request that is still being read from standard input counts as one of these. */
export type SessionKind = Verb | "request";

/**
 * How many sessions of a kind there may be: two mirrors, and for each a session whose end sshd has not
 * noticed yet. Each takes 50 MB, and whoever has the key could start hundreds.
 */
const most = 4;
/** Of one client: two mirrors behind one address, or one with a session whose end sshd has not noticed. */
const mostOfOne = 2;
/** These take moments; both loops of each mirror and whatever watches this server ask at the same time. */
const mostShort = 12;
const short: ReadonlySet<SessionKind> = new Set(["hello", "test", "request"]);

/** A session that was told to end has this long before it counts again. */
const endMs = 1000;

/** There are as many sessions of this kind as there may be. */
export class Busy extends Error {}

/**
 * Makes this session known, until it is disposed of. Others give way to it: {@link givingWay}.
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
	// On a disk that is full or broken the mirror needs its redo log more than ever.
	const uncounted = (error: unknown) =>
		log("warn", "sessions could not be counted", { reason: describe(error) });
	try {
		session = beginSession(config, { verb, client, mirror });
	} catch (error) {
		uncounted(error);
	}
	const self = ownIdentity();
	// Those that came later make room themselves, or are about to be refused.
	const earlier = () => {
		try {
			return livingSessions(config).filter(
				(each) => each.verb === verb && isEarlier(each.process, self),
			);
		} catch (error) {
			uncounted(error);
			return [];
		}
	};
	const before = earlier();
	const given = short.has(verb) ? [] : givingWay({ verb, client, mirror }, before);
	await endAll(given, log);
	if ((given.length === 0 ? before : earlier()).length >= limit) {
		session?.[Symbol.dispose]();
		throw new Busy(
			`busy: ${limit} sessions of ${verb} run already, as many as there may be; try again later`,
		);
	}
	return session ?? { [Symbol.dispose]: () => undefined };
}

/** Two that began in the same tick of the clock must agree on who was first. */
const isEarlier = (one: ProcessIdentity, other: ProcessIdentity): boolean =>
	one.startTime < other.startTime || (one.startTime === other.startTime && one.pid < other.pid);

/**
 * The sessions that end for a new one of the same verb.
 *
 * A mirror whose connection broke comes back before its old session has noticed: a new stream ends the
 * old ones of the same mirror from the same address. No client keeps more than two, whatever mirrors it
 * says it is. Where there is no place left a client gives up its own oldest; a client that has none takes
 * the place of the one that has most, but never its only one. So whoever has the key keeps no mirror of
 * another address out, unless he has four addresses.
 * @param before oldest first
 */
export function givingWay(
	{ verb, client, mirror }: Omit<Session, "process">,
	before: readonly Session[],
): Session[] {
	const given = new Set<Session>();
	const left = () => before.filter((each) => !given.has(each));
	const mine = () => left().filter((each) => each.client === client);
	const replaced = verb === "stream_from" ? mine().filter((each) => each.mirror === mirror) : [];
	for (const each of replaced) given.add(each);
	for (const each of mine().slice(0, 1 - mostOfOne)) given.add(each);
	while (left().length >= most) {
		const byClient = Map.groupBy(left(), (each) => each.client);
		const [largest = []] = [...byClient.values()].toSorted((a, b) => b.length - a.length);
		const [oldest] = mine().length > 0 ? mine() : largest.length > 1 ? largest : [];
		if (oldest === undefined) break;
		given.add(oldest);
	}
	return [...given];
}

async function endAll(sessions: readonly Session[], log: ServedLog): Promise<void> {
	for (const { verb, process, client, mirror } of sessions) {
		log("info", "ends an older session, whose place it takes", {
			request: verb,
			ended: process.pid,
			endedClient: client,
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
