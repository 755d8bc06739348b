import { rm } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, Refusal } from "../../errors.ts";
import { LdapStatus } from "../../loops/ldap/ldap-status.ts";
import { openWatch } from "../../loops/ldap/live-watch.ts";
import { Passwords } from "../../loops/ldap/passwords.ts";
import { prepareCopy } from "../../loops/ldap/prepare-copy.ts";
import { makeDirectory } from "../../services/files.ts";
import { trialArea, trialPlaces } from "../../services/ldap/places.ts";
import { endRound } from "../../services/ldap/round-processes.ts";
import type { Logger } from "../../services/log/logger.ts";
import type { PeerConfig } from "../../services/peer-config.ts";
import { connect } from "../../services/ssh/connect.ts";

/** A directory of gigabytes over a slow line. */
const proofMs = 60 * 60_000;
/** slapd is restarted, or a copy is made in the middle of a change: not at three times running. */
const attempts = 3;
const pauseMs = 2000;
const tellEveryMs = 10_000;
const tellFirstMs = 2000;

export type ProofOptions = {
	readonly config: PeerConfig;
	readonly log: Logger;
	readonly signal: AbortSignal;
	/** the copy is made in a place of its own, and removed */
	readonly scratch: boolean;
	/** whether localconfig.xml here is the live server's, as it is after the initial copy */
	readonly copied: boolean;
	readonly tell: (line: string) => void;
};

/**
 * Makes the LDAP round once as the loop makes it, up to the exchange: watches the live directory, has a
 * snapshot made there, fetches it with rsync over its own ssh, and checks it. Call it only while no LDAP
 * loop works here.
 * Throws a Refusal that says what is missing: ldap-path, or one of what it went through.
 */
export async function proveLdap(options: ProofOptions): Promise<void> {
	const { config, log, scratch, tell } = options;
	const { remoteAddress } = config;
	const began = performance.now();
	let doing = "";
	const late = new AbortController();
	const limit = setTimeout(() => {
		late.abort(new Error(`not done within ${proofMs / 60_000} min, and still ${doing}`));
	}, proofMs);
	let toldAt = began + tellFirstMs - tellEveryMs;
	const telling = setInterval(() => {
		if (performance.now() - toldAt < tellEveryMs) return;
		toldAt = performance.now();
		tell(`Proving the LDAP path: ${doing} (${Math.round((toldAt - began) / 1000)} s)...`);
	}, 250);
	const signal = AbortSignal.any([options.signal, late.signal]);
	const attempt = () =>
		makeRound(options, signal, (what) => {
			doing = what;
		});
	try {
		// A loop or a start that was killed leaves its pull running, which writes to where this one would.
		await endRound(config);
		// A check that was killed has left its copy.
		await rm(trialArea(config), { recursive: true, force: true });
		for (let number = 1; ; number++) {
			try {
				return await attempt();
			} catch (error) {
				options.signal.throwIfAborted();
				if (error instanceof Refusal) throw error;
				const problem = signal.aborted ? signal.reason : error;
				if (signal.aborted || number === attempts) throw missing(remoteAddress, doing, problem);
				log.warn({ reason: describe(problem), attempt: number }, "the LDAP path is tried again");
				tell(`Proving the LDAP path: ${describe(problem)}; trying again...`);
				await sleep(pauseMs, undefined, { signal }).catch(() => undefined);
			}
		}
	} finally {
		clearTimeout(limit);
		clearInterval(telling);
		if (scratch) await rm(trialArea(config), { recursive: true, force: true });
	}
}

async function makeRound(
	{ config, log, scratch, copied }: ProofOptions,
	signal: AbortSignal,
	doing: (what: string) => void,
): Promise<void> {
	const { remoteAddress } = config;
	doing(`connecting to ${remoteAddress}`);
	using link = await connect(config, signal);
	doing(`asking ${remoteAddress} for its directory (ldap_changes)`);
	const passwords = new Passwords(config, new LdapStatus(remoteAddress, log));
	using watch = await openWatch(link, config, {
		onLook: () => undefined,
		onPasswords: (digests) => passwords.setLive(digests),
	});
	if (copied) await passwords.demandSame();
	if (scratch) await makeDirectory(trialArea(config));
	const parts = {
		...{ config, log, watch },
		signal: AbortSignal.any([signal, watch.signal]),
		...(scratch ? { places: trialPlaces(config) } : {}),
	};
	await prepareCopy(parts, (phase) =>
		doing(
			phase === "pulling"
				? `fetching a copy from ${remoteAddress} (ldap_snapshot, rsync)`
				: "checking the copy (mdb_dump, slapcat)",
		),
	);
}

const missing = (peer: string, doing: string, problem: unknown): Refusal =>
	new Refusal(
		"ldap-path",
		`LDAP of ${peer} cannot be followed, ${doing}`,
		`mend what is named, and type the same again; what ${peer} says of it is in its log/sync_commands.log; docs/ldap.md`,
		{ cause: problem },
	);
