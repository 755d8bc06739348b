import { describe, Refusal } from "../../errors.ts";
import { type LdapMark, sameMark } from "../../formats/ldap/mark.ts";
import { type LastRound, nextRoundAt } from "../../formats/ldap/schedule.ts";
import { noisyShell } from "../../formats/protocol/answers.ts";
import { isThere } from "../../services/files.ts";
import { findPlaces } from "../../services/ldap/places.ts";
import { endRound } from "../../services/ldap/round-processes.ts";
import type { Logger } from "../../services/log/logger.ts";
import type { PeerConfig } from "../../services/peer-config.ts";
import { publish } from "../../services/publish.ts";
import { makeRun } from "../../services/run.ts";
import { askedOf, connect } from "../../services/ssh/connect.ts";
import { ldapService } from "../../services/zimbra/service.ts";
import { keepTrying } from "../keep-trying.ts";
import { clearSnapshots } from "../ldap-source/snapshot.ts";
import { longestPause } from "../reconnect.ts";
import { regularly } from "../regularly.ts";
import { LdapStatus } from "./ldap-status.ts";
import { openWatch } from "./live-watch.ts";
import { Passwords } from "./passwords.ts";
import { type RoundParts, runRound, useWaiting, wasWritten } from "./round.ts";
import { stillMirror } from "./still-mirror.ts";
import { readMarker, repairSwap } from "./swap.ts";

const publishMs = 1000;
const lookForStopMs = 250;
const passwordsMs = 5000;
/** How often an LDAP that does not run here is looked at again, where nothing else is to be done. */
const askAgainMs = 30_000;
/** Refusals after which this server may be the live one, and its LDAP is not to be touched. */
const withdrawals = new Set(["is-live", "mailboxd-up"]);

type Loop = {
	readonly config: PeerConfig;
	readonly log: Logger;
	readonly status: LdapStatus;
	readonly passwords: Passwords;
	readonly signal: AbortSignal;
	/** the same, but for a wish to stop */
	readonly untilUsed: AbortSignal;
	/** what was said once and need not be said at each connection */
	readonly told: Set<string>;
	/** whether this server's LDAP runs; asked at the start and when a round has failed: it costs a JVM */
	readonly service: { inDoubt: boolean; askedAt: number };
	/** the last round, of whatever connection, unless the link ended it */
	lastRound: LastRound | undefined;
};

/**
 * The LDAP loop of the mirror: keeps the mirror's LDAP a checked copy of the live one, until the
 * signal aborts or status/live_sync.stop appears; a swap that has begun is brought to its end. Throws
 * a Refusal where it must withdraw.
 */
export async function runLdapLoop(
	config: PeerConfig,
	log: Logger,
	outside: AbortSignal,
): Promise<void> {
	const ended = new AbortController();
	const signal = AbortSignal.any([outside, ended.signal]);
	const status = new LdapStatus(config.remoteAddress, log);
	const passwords = new Passwords(config, status);
	const service = { inDoubt: true, askedAt: 0 };
	const told = new Set<string>();
	const loop: Loop = {
		config,
		log,
		status,
		passwords,
		signal,
		untilUsed: outside,
		told,
		service,
		lastRound: undefined,
	};
	// To the very end: a swap that has begun is brought to its own, and may wait for slapd.
	const gone = new AbortController();
	const publishing = regularly(publishMs, gone.signal, () =>
		publish(config.base.stateLdap, status.snapshot()),
	);
	const tasks = [
		regularly(passwordsMs, signal, () => passwords.compare()),
		regularly(lookForStopMs, signal, async () => {
			if (await isThere(config.base.stopFile)) ended.abort(new Error("stop was asked"));
		}),
	];
	try {
		await follow(loop);
	} catch (error) {
		status.problems.report("copy", error);
		throw error;
	} finally {
		ended.abort();
		await Promise.allSettled(tasks);
		gone.abort();
		await publishing;
		status.setPhase("stopped");
		await publish(config.base.stateLdap, status.snapshot()).catch(() => undefined);
	}
}

async function follow(loop: Loop): Promise<void> {
	const { config, log, service, status, signal } = loop;
	let atFault: "copy" | "link" = "copy";
	await keepTrying(
		async (healthy) => {
			atFault = "copy";
			await endRest(loop);
			await repairSwap(config, log, signal);
			await stillMirror(config);
			// A power loss leaves them on a live server, which this one may have been.
			await clearSnapshots(config.base).catch((error: unknown) => {
				log.warn({ reason: describe(error) }, "snapshots of an earlier life are in the way");
			});
			await useWaiting(config, log, signal);
			if (service.inDoubt) await startLdap(loop);
			try {
				await session(loop, healthy);
			} catch (error) {
				if (!(error instanceof RoundFailed)) {
					atFault = "link";
					throw error;
				}
				service.inDoubt = true;
				throw error.cause;
			}
		},
		{
			signal,
			longestMs: (problem) => longestPause(problem, config.settings),
			isFinal: (problem) => problem instanceof Refusal && withdrawals.has(problem.code),
			onRetry(problem, delayMs) {
				status.problems.report(atFault, problem);
				status.setPhase("waiting");
				log.debug({ delayMs: Math.round(delayMs) }, "trying again");
			},
		},
	);
}

/** Not the link but the copy is at fault. */
class RoundFailed extends Error {}

/** One connection: watches the live directory, and makes a round whenever one is due. */
async function session(loop: Loop, healthy: () => void): Promise<void> {
	const { config, log, status, passwords } = loop;
	const { settings } = config;
	status.setInstalled(await findInstalled(loop));
	status.setPhase("connecting");
	using link = await connect(config, loop.signal);
	let changedAt = performance.now();
	let last: LdapMark | undefined;
	using watch = await openWatch(link, config, {
		onLook(look) {
			if (last === undefined || !sameMark(last, look)) changedAt = performance.now();
			last = look;
			status.heard(look);
		},
		onPasswords: (digests) => {
			passwords.setLive(digests);
			passwords.compare().catch(() => undefined);
		},
	});
	status.problems.resolved("link");
	// A round is what it breaks; where nothing changes, what is in use goes on covering the redo log.
	if (watch.noise === "") status.problems.resolved("shell");
	else status.problems.report("shell", noisyShell(askedOf(config), watch.noise), false);
	if (watch.hello.method === "files" && !loop.told.has("files")) {
		loop.told.add("files");
		log.warn({ reason: watch.hello.reason }, "LDAP is copied file by file, as in 2011");
	}
	const signal = AbortSignal.any([loop.signal, watch.signal]);
	const parts: RoundParts = { ...loop, watch, signal };
	let firstChange: number | undefined;
	while (!loop.signal.aborted) {
		status.setPhase("watching");
		const { installed } = status;
		// Asked where nothing is in use too: of a watch that has ended no next look is waited for.
		const look = watch.look();
		if (installed !== undefined && sameMark(installed, look)) {
			firstChange = undefined;
			healthy();
			status.problems.resolved("copy");
			// A round asks too, but none comes where nothing changes, and a server that is live is no mirror.
			await stillMirror(config);
			if (loop.service.inDoubt && performance.now() - loop.service.askedAt > askAgainMs) {
				await startLdap(loop);
			}
			await watch.next(settings.heartbeat_interval);
			continue;
		}
		firstChange ??= changedAt;
		const { lastRound } = loop;
		const times = { firstChange, lastChange: changedAt, lastRound };
		// The very first copy need not wait for quiet.
		const wait = nextRoundAt(times, settings) - performance.now();
		if (wait > 0 && (installed !== undefined || lastRound !== undefined)) {
			await watch.next(Math.min(wait, settings.heartbeat_interval));
			continue;
		}
		const start = performance.now();
		firstChange = undefined;
		let whole = false;
		const work = runRound(parts, () => {
			whole = true;
		});
		const workedMs = await work.catch((error: unknown): never => {
			parts.untilUsed.throwIfAborted();
			if (whole && loop.signal.aborted) {
				log.error({ reason: describe(error) }, "an LDAP copy that was fetched is not used");
			}
			if (!whole) signal.throwIfAborted();
			const failures = (loop.lastRound?.failures ?? 0) + 1;
			loop.lastRound = { start, end: performance.now(), failures };
			throw new RoundFailed("round", { cause: error });
		});
		loop.lastRound = { start, end: start + workedMs, failures: 0 };
		loop.service.inDoubt = false;
		status.problems.resolved("service");
		// Where changes never pause the copy is never quite the newest; it is in use all the same.
		healthy();
		status.problems.resolved("copy");
	}
}

/** A loop that was killed leaves its pull running, which writes to where the next one would write. */
async function endRest({ config, log }: Loop): Promise<void> {
	const ended = await endRound(config);
	if (ended.length === 0) return;
	log.warn(
		{ processes: ended.map(({ pid }) => pid) },
		"ended what a round of an LDAP loop that was killed had left running",
	);
}

/** The copy that is in use, if it is one that came from a live server and nobody has written to it. */
async function findInstalled({ config, log }: Loop) {
	const { current } = await findPlaces(config);
	const marker = await readMarker(current);
	if (marker === undefined) return undefined;
	// Where nobody can tell, the next copy comes with the next change.
	if ((await wasWritten(config, marker)) !== true) return marker;
	log.info({ copy: marker.id }, "LDAP was written to on this server, so it is copied anew");
	return undefined;
}

async function startLdap({ config, log, service, status, signal }: Loop): Promise<void> {
	const ldap = ldapService({ run: makeRun(config.settings), config });
	const started = await ldap.start(signal);
	service.inDoubt = !started.ok;
	service.askedAt = performance.now();
	if (started.ok) {
		if (started.changed) log.info("LDAP of this server was started");
		status.problems.resolved("service");
		return;
	}
	// A copy may mend it, so the loop goes on.
	const message = `LDAP of this server does not serve: ${started.problem}`;
	status.problems.note("service", { code: "trouble", message, hint: started.hint, critical: true });
}
