import { closeSync, mkdirSync, openSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { hasCode } from "../errors.ts";
import type { Config } from "./config.ts";
import { bootId, isAlive, ownIdentity, type ProcessIdentity } from "./processes.ts";

/** What sync-commands serves at this moment: one process for each session of ssh. */
export type Session = {
	readonly verb: string;
	readonly process: ProcessIdentity;
	/** address that the client of ssh has, or "" */
	readonly client: string;
	/** the mirror that it says it is, or "" */
	readonly mirror: string;
};

/**
 * The sessions that live, oldest first. Each has an empty file, and all that is known of it stands in the
 * name: then it can be read whole at any moment, and a process that was killed is told from a living one.
 */
export function livingSessions({ base }: Pick<Config, "base">): Session[] {
	const living: Session[] = [];
	for (const name of list(base.sessions)) {
		const session = parseName(name);
		if (session !== undefined && isAlive(session.process)) living.push(session);
		else remove(join(base.sessions, name));
	}
	return living.toSorted((a, b) => a.process.startTime - b.process.startTime);
}

/** Makes this process known as a session, until it is disposed of. */
export function beginSession(
	{ base }: Pick<Config, "base">,
	session: Omit<Session, "process">,
): Disposable {
	const file = join(base.sessions, formatName({ ...session, process: ownIdentity() }));
	try {
		closeSync(openSync(file, "w", 0o640));
	} catch (error) {
		if (!hasCode(error, "ENOENT")) throw error;
		mkdirSync(base.sessions, { recursive: true, mode: 0o750 });
		closeSync(openSync(file, "w", 0o640));
	}
	return { [Symbol.dispose]: () => remove(file) };
}

/** What stays, on a disk that cannot be written, names nobody who lives. */
function remove(file: string): void {
	try {
		rmSync(file, { force: true });
	} catch {}
}

function list(directory: string): string[] {
	try {
		return readdirSync(directory);
	} catch (error) {
		if (hasCode(error, "ENOENT")) return [];
		throw error;
	}
}

const formatName = ({ verb, process, client, mirror }: Session): string =>
	[verb, process.pid, process.startTime, process.bootId, client, mirror].join(",");

function parseName(name: string): Session | undefined {
	const [verb = "", pid, startTime, boot, client = "", mirror = ""] = name.split(",");
	if (boot !== bootId()) return undefined;
	const process = { pid: Number(pid), startTime: Number(startTime), bootId: boot };
	return process.pid > 1 ? { verb, process, client, mirror } : undefined;
}
