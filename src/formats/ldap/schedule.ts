/**
 * When the next LDAP copy is due: after a short quiet time, so that a burst of changes is one round;
 * at the latest an interval after the first of them, so that changes without a pause do not put it
 * off for ever; and never sooner after the last round than its share of the time allows. After rounds
 * that failed it comes ever later: LDAP may have been down for each of them, and replay waiting.
 * All times are in ms on one clock.
 */
export type RoundTimes = {
	/** when live first differed from the copy in use, and when it was last seen to change */
	readonly firstChange: number;
	readonly lastChange: number;
	readonly lastRound?: LastRound | undefined;
};

export type LastRound = {
	readonly start: number;
	readonly end: number;
	/** how many failed in a row, this one being the last of them */
	readonly failures: number;
};

export type RoundSettings = {
	readonly ldap_quiet: number;
	readonly ldap_interval: number;
	/** per cent */
	readonly ldap_share: number;
};

const longestAfterFailureMs = 15 * 60_000;

export function nextRoundAt(times: RoundTimes, settings: RoundSettings): number {
	const quiet = times.lastChange + settings.ldap_quiet;
	const wanted = Math.min(quiet, times.firstChange + settings.ldap_interval);
	if (times.lastRound === undefined) return wanted;
	const { start, end, failures } = times.lastRound;
	const pause = Math.max(
		settings.ldap_interval,
		((end - start) * 100) / settings.ldap_share,
		failures === 0 ? 0 : Math.min((end - start) * 2 ** failures, longestAfterFailureMs),
	);
	return Math.max(wanted, start + pause);
}
