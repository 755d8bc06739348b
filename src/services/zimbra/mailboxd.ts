import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ownProcesses } from "../process-table.ts";
import type { ProcessIdentity } from "../processes.ts";
import { describeResult, withAction } from "../run.ts";
import { namedProcess, type ServiceParts, type ServiceResult } from "./service.ts";

/**
 * Zimbra's mail server. Its script cannot be asked alone: `zmmailboxdctl status` exits 0, and says
 * nothing, where the mailboxd directory, the mysql client or java is missing, and `stop` always exits
 * 0. Source: zm-core-utils, src/bin/zmmailboxdctl.
 */
export type Mailboxd = {
	/** By pid files and the table of processes, without a JVM: cheap enough for every second. */
	process(): Promise<ProcessIdentity | undefined>;
	/** The same, and what the script says where no process is found. */
	state(signal: AbortSignal): Promise<MailboxdState>;
	/** Returns when no process of it is left, or cannot be made to go within service_timeout. */
	stop(signal: AbortSignal): Promise<ServiceResult>;
};

export type MailboxdState =
	| { readonly kind: "running"; readonly how: string }
	| { readonly kind: "stopped" }
	/** the script says something that cannot be true, or nothing; zmplayredo would refuse */
	| { readonly kind: "unknown"; readonly problem: string; readonly hint: string };

/**
 * The JVM, its keeper that starts it anew when it dies, and the keeper's old name.
 * Source: zm-launcher, src/launcher/zmmailboxdmgr.c.
 */
const pidFiles = ["zmmailboxd_java.pid", "zmmailboxd_manager.pid", "zmmailboxd.pid"];
const looksLikeIt = /mailboxd|jetty/;
const pollMs = 250;

export function makeMailboxd({ run, config }: ServiceParts): Mailboxd {
	const { home } = config.zimbra;
	const { mailboxd_command, service_timeout, command_timeout } = config.settings;
	const action = (name: string) => withAction(mailboxd_command, name);
	// Where it has its web applications, as the keeper tells the JVM; zmplayredo's JVM names only
	// directories below it.
	const own = [`-Djetty.home=${home}/mailboxd`, `-Djetty.base=${home}/mailboxd`];

	const process = async () => {
		for (const file of pidFiles) {
			const found = await namedProcess(join(home, "log", file), looksLikeIt);
			if (found !== undefined) return found;
		}
		const [jvm] = ownProcesses("at once", ({ words }) => words.some((word) => own.includes(word)));
		return jvm;
	};

	const state = async (signal: AbortSignal): Promise<MailboxdState> => {
		const found = await process();
		if (found !== undefined) return { kind: "running", how: `process ${found.pid}` };
		const command = action("status");
		const result = await run(command, { timeoutMs: command_timeout, signal });
		signal.throwIfAborted();
		if (result.ended === "by itself" && result.exitCode !== undefined) {
			if (result.exitCode !== 0) return { kind: "stopped" };
			if (/\brunning\b/.test(result.stdout) && !/\bnot running\b/.test(result.stdout)) {
				return { kind: "running", how: `${command.join(" ")} says so` };
			}
		}
		return {
			kind: "unknown",
			problem: `no process of mailboxd is there, but ${describeResult(command, result)}`,
			hint: `mend the installation: the mailboxd directory, bin/mysql or java is missing below ${home}`,
		};
	};

	return {
		process,
		state,
		async stop(signal) {
			const before = await state(signal);
			if (before.kind === "stopped") return { ok: true, changed: false };
			const command = action("stop");
			const deadline = performance.now() + service_timeout;
			const result = await run(command, { timeoutMs: service_timeout, signal });
			signal.throwIfAborted();
			for (;;) {
				// The process is cheap to ask; the script has the last word only when there is none.
				const after = (await process()) === undefined ? await state(signal) : before;
				if (after.kind === "stopped") return { ok: true, changed: true };
				if (performance.now() > deadline || after.kind === "unknown") {
					return {
						ok: false,
						problem: `mailboxd ${after.kind === "unknown" ? after.problem : `still runs, ${after.how}`} (${describeResult(command, result)})`,
						hint: `run ${command.join(" ")} by hand, and see that ${action("status").join(" ")} says "not running"`,
					};
				}
				await sleep(pollMs, undefined, { signal });
			}
		},
	};
}
