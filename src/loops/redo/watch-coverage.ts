import { setTimeout as sleep } from "node:timers/promises";
import { comparePositions, formatPosition } from "../../formats/redolog/position.ts";
import type { LdapState } from "../../formats/state.ts";
import type { Config } from "../../services/config.ts";
import { readPublished } from "../../services/publish.ts";
import type { RedoStatus } from "./redo-status.ts";

const shipped = {
	lookMs: 5000,
	/** Longer than any round of a large directory should take. */
	patienceMs: 120_000,
};

/**
 * Replay goes no further than the LDAP copy here knows the accounts. Where that stands still while the
 * log grows, it is said: a standby whose mail is all received and never replayed looks healthy. As soon
 * as it moves, nothing stands still: on a busy server it never catches up altogether.
 */
export async function watchCoverage(
	config: Config,
	status: RedoStatus,
	signal: AbortSignal,
	{ lookMs, patienceMs } = shipped,
): Promise<void> {
	let since: number | undefined;
	let last = "";
	while (!signal.aborted) {
		await sleep(lookMs, undefined, { signal }).catch(() => undefined);
		const { flushed } = status;
		const ldap = await readPublished<LdapState>(config.base.stateLdap, 1);
		const coverage = ldap?.coverage;
		const behind =
			flushed !== undefined && (coverage === undefined || comparePositions(coverage, flushed) < 0);
		const at = coverage === undefined ? "nothing" : formatPosition(coverage);
		const stands = behind && at === last;
		if (!stands) {
			since = performance.now();
			status.problems.resolved("coverage");
		}
		last = at;
		if (stands && since !== undefined && performance.now() - since > patienceMs) {
			status.problems.note("coverage", {
				code: "trouble",
				message: `replay waits for LDAP: the copy in use here covers the redo log up to ${at}, and has stood there for ${patienceMs / 60_000} minutes`,
				hint: "live-syncd status tells what the LDAP loop is at; docs/runbooks.md, ldap trouble",
				critical: false,
			});
		}
	}
}
