import { setTimeout as sleep } from "node:timers/promises";
import { describe } from "../../errors.ts";
import { comparePositions, type Position } from "../../formats/redolog/position.ts";
import type { LdapState, RedoState } from "../../formats/state.ts";
import { ageOf, type Moment, now } from "../../services/clock.ts";
import type { Config } from "../../services/config.ts";
import { writeDurably } from "../../services/files.ts";
import { endRound } from "../../services/ldap/round-processes.ts";
import { readPidFile } from "../../services/pid-file.ts";
import { readPublished } from "../../services/publish.ts";
import { clearStopFile, findLoops } from "./loop.ts";
import { Patience } from "./patience.ts";

/** A loop publishes each second; one that does not for so long is not waited for. */
const publishedMs = 5000;
/** The LDAP loop publishes that often. */
const ldapStateMs = 1000;
/** After so long a wait for LDAP is told. */
const tellOfLdapMs = 1000;

/** The loops end, as soon as they have what this server can still get. Nothing of them is left. */
export async function endLoops(config: Config): Promise<void> {
	const patience = new Patience(config);
	await waitForLdap(config, patience);
	await writeDurably(config.base.stopFile, "");
	try {
		await waitForLoops(config, patience);
	} finally {
		await clearStopFile(config);
	}
	// Of a loop that was killed; what is left of it is in nobody's way but for the work it makes.
	await endRound(config).catch((error: unknown) => {
		process.stderr.write(`live-syncd: ${describe(error)}\n`);
	});
}

/**
 * Mail for an account that the LDAP copy here does not know yet cannot be replayed. While the LDAP loop
 * hears the live server, and has no trouble, it is given the time to bring the accounts of all that was
 * received. A copy that can not come is not waited for: see {@link mayCover}.
 */
async function waitForLdap(config: Config, patience: Patience): Promise<void> {
	const { base, settings } = config;
	const flushed = await flushedNow(config);
	if (flushed === undefined) return;
	const began = now();
	let told = false;
	patience.allow(settings.service_timeout);
	do {
		if ((await readPidFile(base.pidLdap)) === undefined) return;
		const ldap = await readPublished<LdapState>(base.stateLdap, 1);
		if (ldap === undefined || ldap.phase === "stopped") return;
		if (ldap.problems.length > 0) return;
		if (ldap.coverage !== undefined && comparePositions(ldap.coverage, flushed) >= 0) return;
		if (!mayCover(ldap, flushed, settings, began)) return;
		if (!told && ageOf(began) > tellOfLdapMs) {
			told = true;
			process.stdout.write("Waiting for a copy of LDAP that covers what was received...\n");
		}
	} while (await patience.lasts());
}

/**
 * Whether a copy of LDAP that covers a position may still come.
 * @param began when `stop` began to wait
 */
function mayCover(
	{ heardAt, liveEnd }: LdapState,
	flushed: Position,
	{ heartbeat_interval, link_timeout }: Config["settings"],
	began: Moment,
): boolean {
	// A live server that has just died is not known to be dead yet. Each look comes with a heartbeat.
	const silentMs = heardAt === undefined ? ageOf(began) : ageOf(heardAt);
	if (silentMs > link_timeout + ldapStateMs) return false;
	// It has cut its log below what is here, as after a crash, or has none: what it copies covers no more.
	// A look from before `stop` may be older than what was received since.
	const looksSince = (heardAt?.monotonic ?? 0) - began.monotonic;
	if (looksSince < 2 * heartbeat_interval + ldapStateMs) return true;
	return liveEnd !== undefined && comparePositions(liveEnd, flushed) >= 0;
}

/** Not what the redo loop published a second ago: in that second an account may have got its first mail. */
async function flushedNow({ base }: Config): Promise<Position | undefined> {
	const { monotonic: asked } = now();
	for (;;) {
		const state = await readPublished<RedoState>(base.stateRedo, 1);
		const fresh = state !== undefined && state.at.monotonic > asked;
		const late = now().monotonic - asked > publishedMs;
		if (fresh || late || (await readPidFile(base.pidRedo)) === undefined) return state?.flushed;
		await sleep(100);
	}
}

async function waitForLoops(config: Config, patience: Patience): Promise<void> {
	let told = false;
	patience.allow(patienceMs(config));
	for (;;) {
		const [loop] = [...(await findLoops(config, "redo")), ...(await findLoops(config, "ldap"))];
		if (loop === undefined) return;
		if (!told) process.stdout.write("Waiting for sync operations to complete...\n");
		told = true;
		if (!(await patience.lasts())) {
			throw new Error(
				`process ${loop.pid} does not come to an end; live-syncd kill ends it at once`,
			);
		}
	}
}

/** A replay run may be under way, and what it has to wait for. */
export const patienceMs = ({ settings }: Config): number =>
	settings.replay_timeout + settings.service_timeout;
