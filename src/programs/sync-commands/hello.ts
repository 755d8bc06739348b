import { accessSync, constants, statfsSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { formatHello, type Hello, protocolVersion } from "../../formats/protocol/hello.ts";
import { monotonicMs } from "../../services/clock.ts";
import type { Config } from "../../services/config.ts";
import { findLiveSyncd } from "../../services/live-syncd-here.ts";
import { endOfLog } from "../../services/redolog/open-log.ts";
import { readRole } from "../../services/role.ts";
import { makeRun } from "../../services/run.ts";
import { answer } from "../../services/standard-output.ts";
import { makeMailboxd } from "../../services/zimbra/mailboxd.ts";
import { zimbraVersion } from "../../services/zimbra/version.ts";
import { version } from "../../version.ts";
import type { Serve } from "./context.ts";

/** The moment of a rollover in which there is no redo.log is far shorter than this. */
const rolloverMs = 500;

/** Who is here and how things stand, in one line of JSON; asked at each connection, so it is quick. */
export const serve: Serve<"hello"> = async (_, { config, signal }) => {
	const { base, settings, zimbra } = config;
	const [zimbraRelease, redolog, { role, timeline, stopped }, mailboxd, liveSyncd] =
		await Promise.all([
			zimbraVersion(config),
			findEnd(config),
			readRole(base.role),
			mailboxdState(config, signal),
			findLiveSyncd(config),
		]);
	const hello: Hello = {
		protocol: protocolVersion,
		program: version,
		zimbra: zimbraRelease,
		redolog,
		// Zimbra was started after `stop`: then this server is no mirror any more, whatever it remembers.
		role: stopped !== undefined && mailboxd === "running" ? "unknown" : role,
		timeline,
		mailboxd,
		liveSyncd,
		capabilities: ["zstd", ...(isInPath("mdb_copy", settings.path) ? ["mdb_copy"] : [])],
		clock: Date.now(),
		diskFree: { redolog: freeBytes(zimbra.redolog), base: freeBytes(base.base) },
	};
	await answer(formatHello(hello));
	return 0;
};

async function findEnd({ zimbra }: Config): Promise<Hello["redolog"]> {
	const deadline = monotonicMs() + rolloverMs;
	for (;;) {
		const end = await endOfLog(zimbra);
		if (end !== undefined) {
			const { serverId, sequence, createTime, open } = end.header;
			return { serverId, sequence, createTime, size: end.size, open };
		}
		if (monotonicMs() > deadline) return undefined;
		await sleep(20);
	}
}

/**
 * By pid files and processes. zmmailboxdctl starts a JVM each time, and exits 0 where java is missing;
 * it is asked only where there is no process and no sign of Zimbra's own launcher, whose pid files and
 * processes would tell (Carbonio runs mailboxd as a unit of systemd).
 */
async function mailboxdState(config: Config, signal: AbortSignal): Promise<Hello["mailboxd"]> {
	const mailboxd = makeMailboxd({ run: makeRun(config.settings), config });
	if ((await mailboxd.process()) !== undefined) return "running";
	if (exists(join(config.zimbra.home, "libexec/zmmailboxdmgr"))) return "stopped";
	return (await mailboxd.state(signal)).kind;
}

function isInPath(program: string, path: readonly string[]): boolean {
	return path.some((each) => exists(join(each, program), constants.X_OK));
}

function exists(path: string, mode = constants.F_OK): boolean {
	try {
		accessSync(path, mode);
		return true;
	} catch {
		return false;
	}
}

function freeBytes(directory: string): number | undefined {
	try {
		const { bavail, bsize } = statfsSync(directory);
		return bavail * bsize;
	} catch {
		return undefined;
	}
}
