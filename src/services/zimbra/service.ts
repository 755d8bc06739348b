import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Config } from "../config.ts";
import { readIfThere } from "../files.ts";
import { slapdIsHere } from "../ldap/slapd-here.ts";
import { readProc } from "../proc.ts";
import { userOf } from "../process-table.ts";
import { identify, isAlive, type ProcessIdentity } from "../processes.ts";
import { describeResult, type Run, type RunResult, withAction } from "../run.ts";

/**
 * One of Zimbra's services, driven by its script and believed only by what it does. The exit codes
 * mean little: `mysql.server start` exits 0 after it printed "failed.", `ldap start` exits 1 when
 * slapd runs already, `ldap stop` exits 0 with a slapd that its pid file does not name.
 * Source: zm-core-utils, src/bin/ldap.production, src/bin/mysql.server.
 */
export type Service = {
	readonly name: "ldap" | "mysql";
	/** Whether it, of this host, answers a question; runs its check command, which for LDAP may start a JVM. */
	answers(signal: AbortSignal): Promise<boolean>;
	/** Returns when it answers, or cannot be made to within service_timeout. */
	start(signal: AbortSignal): Promise<ServiceResult>;
	/** Returns when its process is gone, or cannot be made to go within service_timeout. */
	stop(signal: AbortSignal): Promise<ServiceResult>;
	/** The process that its pid file names, if it lives and is what it should be. */
	process(): Promise<ProcessIdentity | undefined>;
};

export type ServiceResult =
	/** `changed`: it was not so before */
	| { readonly ok: true; readonly changed: boolean }
	/** `hint` is what a person can do about it */
	| { readonly ok: false; readonly problem: string; readonly hint: string };

export type ServiceParts = { readonly run: Run; readonly config: Config };

/** What is particular to a service. */
type Kind = {
	readonly name: Service["name"];
	readonly command: readonly string[];
	readonly check: readonly string[];
	readonly pidFiles: readonly string[];
	/** what the command line of its process must hold: a pid file may come from the other host */
	readonly processName: RegExp;
	readonly logFile: string;
	/** false where what answers can not be of this host; its process counts too */
	readonly isHere?: () => Promise<boolean | undefined>;
};

export const ldapService = ({ run, config }: ServiceParts): Service =>
	makeService(
		{
			name: "ldap",
			command: config.settings.ldap_command,
			check: config.settings.ldap_check_command,
			pidFiles: [join(config.zimbra.ldap, "state/run/slapd.pid")],
			processName: /slapd/,
			logFile: "/var/log/zimbra.log",
			isHere: () => slapdIsHere(config),
		},
		{ run, config },
	);

export const databaseService = ({ run, config }: ServiceParts): Service =>
	makeService(
		{
			name: "mysql",
			command: config.settings.mysql_command,
			check: config.settings.mysql_check_command,
			// localconfig's mysql_pidfile; source: zm-mailbox LC.java (log/), Zimbra 7 and 8.0 (db/).
			pidFiles: [
				join(config.zimbra.home, "log/mysql.pid"),
				join(config.zimbra.home, "db/mysql.pid"),
			],
			processName: /mysqld|mariadbd/,
			logFile: join(config.zimbra.home, "log/mysql_error.log"),
		},
		{ run, config },
	);

const pollMs = 250;

function makeService(kind: Kind, { run, config }: ServiceParts): Service {
	const { service_timeout: patienceMs, command_timeout: commandMs } = config.settings;
	const action = (name: "start" | "stop" | "status") => withAction(kind.command, name);

	const script = async (name: "start" | "stop" | "status", signal: AbortSignal) => {
		const timeoutMs = name === "status" ? commandMs : patienceMs;
		const result = await run(action(name), { timeoutMs, signal });
		signal.throwIfAborted();
		return result;
	};
	const answers = async (signal: AbortSignal) => {
		if ((await kind.isHere?.()) === false && (await process()) === undefined) return false;
		const result = await run(kind.check, { timeoutMs: commandMs, signal });
		signal.throwIfAborted();
		return result.exitCode === 0 && result.ended === "by itself";
	};
	const process = async () => {
		for (const file of kind.pidFiles) {
			const found = await namedProcess(file, kind.processName);
			if (found !== undefined) return found;
		}
		return undefined;
	};
	const failed = (what: string, result: RunResult, name: "start" | "stop"): ServiceResult => ({
		ok: false,
		problem: `${what} (${describeResult(action(name), result)})`,
		hint: `run ${action(name).join(" ")} by hand, and look into ${kind.logFile}`,
	});

	return {
		name: kind.name,
		answers,
		process,
		async start(signal) {
			if (await answers(signal)) return { ok: true, changed: false };
			const deadline = performance.now() + patienceMs;
			const result = await script("start", signal);
			for (;;) {
				if (await answers(signal)) return { ok: true, changed: true };
				// The script has given up. Where a process is there it may still be on its way: the
				// database recovers for minutes after a crash, and its script waits for two.
				const coming = (await process()) !== undefined || isUp(await script("status", signal));
				if (!coming) return failed(`${kind.name} did not start`, result, "start");
				if (performance.now() > deadline) {
					return failed(`${kind.name} runs but does not answer`, result, "start");
				}
				await sleep(pollMs, undefined, { signal });
			}
		},
		async stop(signal) {
			const before = await process();
			if (before === undefined && !(await isThere(signal))) return { ok: true, changed: false };
			const deadline = performance.now() + patienceMs;
			const result = await script("stop", signal);
			for (;;) {
				if (before === undefined ? !(await isThere(signal)) : !isAlive(before)) {
					return { ok: true, changed: true };
				}
				if (performance.now() > deadline) {
					const who = before === undefined ? "" : `, process ${before.pid}`;
					return failed(`${kind.name} still runs${who}`, result, "stop");
				}
				await sleep(pollMs, undefined, { signal });
			}
		},
	};

	/** Without a pid that can be believed: anything that answers, or that the script calls running. */
	async function isThere(signal: AbortSignal): Promise<boolean> {
		return isUp(await script("status", signal)) || (await answers(signal));
	}
}

const isUp = (status: RunResult): boolean => status.exitCode === 0 && status.ended === "by itself";

/**
 * The living process that a pid file of Zimbra names, if its command line looks like what it should be. The
 * file may be an old one, and its number that of a process which another user has made look like it. Our
 * own user's count, and root's: Zimbra's zmmailboxdmgr runs as root (zm-launcher, zmmailboxdmgr.c).
 */
export async function namedProcess(
	pidFile: string,
	looksLike: RegExp,
): Promise<ProcessIdentity | undefined> {
	const pid = Number((await readIfThere(pidFile))?.trim().split("\n")[0]);
	if (!Number.isSafeInteger(pid) || pid <= 1) return undefined;
	const found = identify(pid);
	if (found === undefined || !looksLike.test(commandLine(pid))) return undefined;
	return ["own", "root"].includes(userOf(pid)) ? found : undefined;
}

/** The words of a process, parted by blanks; "" where it is gone. */
function commandLine(pid: number): string {
	try {
		return readProc(pid, "cmdline").replaceAll("\0", " ").trim();
	} catch {
		return "";
	}
}
