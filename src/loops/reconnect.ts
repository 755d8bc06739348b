import { Refusal } from "../errors.ts";
import type { Settings } from "../formats/settings/table.ts";
import { TurnedAway, Unanswered } from "../services/ssh/dial.ts";
import { firstPauseMs } from "./keep-trying.ts";

/**
 * Longest pause where sshd answers and does not let us in. Each login that fails costs the address a
 * penalty of 5 s, each connection refused for penalties 10 s, and for all of them sshd refuses everything
 * from there, an admin's login too. The two loops stay below that with one try each in half a minute.
 * Source: sshd_config(5), PerSourcePenalties, OpenSSH 10.
 */
const turnedAwayMs = 30_000;

/**
 * The longest pause before the next try, by what ended the last one. A server that does not answer at all
 * is knocked at every second: that costs it nothing, and no outage lasts longer here than it does there.
 */
export function longestPause(
	problem: unknown,
	{ reconnect_max }: Pick<Settings, "reconnect_max">,
): number {
	if (problem instanceof Unanswered) return Math.min(firstPauseMs, reconnect_max);
	if (problem instanceof TurnedAway || problem instanceof Refusal) {
		return Math.max(turnedAwayMs, reconnect_max);
	}
	return reconnect_max;
}
