import { type ProcessStat, parseStat } from "../../formats/proc-stat.ts";
import { readProc } from "../../services/proc.ts";
import { identify, isAlive, type ProcessIdentity } from "../../services/processes.ts";

/**
 * Tells when the client is gone. sshd does not end the command of a session whose connection has
 * broken, and a verb that only waits writes nothing that could fail. What can be seen is that sshd's
 * process of that session ends: then we get another parent.
 *
 * How soon: at once where the client closes or dies (its kernel says so). Where the line goes dead
 * silently, when sshd's kernel gives up: about 15 minutes after a write that nobody confirms
 * (net.ipv4.tcp_retries2), without one after about 2 hours 11 minutes (TCPKeepAlive with the kernel's
 * defaults), or earlier, ClientAliveInterval × ClientAliveCountMax, where sshd_config sets that.
 */
export type Client = Disposable & {
	/** aborts when the client is gone, or this program was told to end */
	readonly signal: AbortSignal;
};

const pollMs = 1000;
const endings = ["SIGTERM", "SIGINT", "SIGHUP"] as const;

export function watchClient(overSsh: boolean): Client {
	const gone = new AbortController();
	const abort = () => gone.abort(new Error("the client is gone"));
	const told = () => gone.abort(new Error("told to end"));
	for (const name of endings) process.on(name, told);

	const parent = process.ppid;
	const sshd = findSshd(parent);
	if (overSsh && sshd === undefined && isReaper(parent)) abort();
	const timer = setInterval(() => {
		if (process.ppid !== parent || (sshd !== undefined && !isAlive(sshd))) abort();
	}, pollMs);
	timer.unref();
	return {
		signal: gone.signal,
		[Symbol.dispose]() {
			clearInterval(timer);
			for (const name of endings) process.off(name, told);
		},
	};
}

/** sshd's process of this session: our parent, or above the shells that the forced command began with. */
function findSshd(parent: number): ProcessIdentity | undefined {
	for (let pid = parent; pid > 1; ) {
		const shown = show(pid);
		if (shown === undefined) return undefined;
		if (shown.name.startsWith("sshd")) return identify(pid);
		pid = shown.parent;
	}
	return undefined;
}

/** The process that gets orphans: the session had ended before we looked. */
function isReaper(pid: number): boolean {
	return pid === 1 || ["systemd", "init"].includes(show(pid)?.name ?? "");
}

/** Undefined where it may not be read (hidepid). */
function show(pid: number): ProcessStat | undefined {
	try {
		return parseStat(readProc(pid, "stat"));
	} catch {
		return undefined;
	}
}
