import { isFollowing } from "../../formats/role.ts";
import type { Config } from "../../services/config.ts";
import { type Logger, makeLogger } from "../../services/log/logger.ts";
import { onServer } from "../../services/manual.ts";
import { bringUpToDate, ClockBehind } from "./bring-up-to-date.ts";
import { endLoops, patienceMs } from "./end-loops.ts";
import { mailboxdProcess, roleHere, whetherZimbraRan } from "./own-role.ts";
import { repairLdap, useWaitingCopy } from "./repair-ldap.ts";
import { makeDirectories } from "./setting-up.ts";
import { takeTurn } from "./turn.ts";

/**
 * The exit code of a `stop` that has done all it can do, where something is missing in the message store:
 * `stop && zmcontrol start` ends there, and a person decides. With --accept-loss it is 0.
 */
const lossCode = 5;

export type StopOptions = { readonly acceptLoss?: boolean };

/**
 * `live-syncd stop`: ends the loops, replays all that was received, and leaves the server ready for
 * `zmcontrol start`. Needs nothing of the live server.
 */
export async function stop(config: Config, options: StopOptions = {}): Promise<number> {
	const typedAt = Date.now();
	await makeDirectories(config);
	const log = (await makeLogger(config.base.log, config.settings)).child({ program: "stop" });
	await using _turn = await takeTurn(config, "stop", patienceMs(config), log);
	try {
		await endLoops(config);
		await mendLdap(config, log);
		const losses = await bringUpToDate(config, log, options.acceptLoss === true, typedAt);
		if (losses.length === 0) {
			process.stdout.write("done\n");
			return 0;
		}
		return tellLosses(losses, options);
	} catch (error) {
		// Where Zimbra runs already, nobody is to be told not to start it.
		if (!(error instanceof ClockBehind) && (await mailboxdProcess(config)) === undefined) {
			process.stderr.write(
				"live-syncd: not all that was received is in the message store yet. Do not start Zimbra here before live-syncd stop has ended with done: what is left could not be replayed any more\n",
			);
		}
		throw error;
	}
}

/** An exchange that was cut short is mended; a whole copy that waits may have accounts of what was received. */
async function mendLdap(config: Config, log: Logger): Promise<void> {
	await repairLdap(config, log);
	// LDAP of a server on which Zimbra ran has changes of its own.
	const role = await roleHere(config);
	const mayFollow = isFollowing(role) || role.since === 0;
	if (mayFollow && (await whetherZimbraRan(config)) === "not") {
		await useWaitingCopy(config, log);
	}
}

function tellLosses(losses: readonly string[], { acceptLoss }: StopOptions): number {
	for (const loss of losses) process.stderr.write(`live-syncd: ${onServer(loss)}\n`);
	if (acceptLoss === true) {
		process.stdout.write("done\n");
		return 0;
	}
	process.stderr.write(
		`live-syncd: not done (exit code ${lossCode}): all that could be replayed is in the message store, but something is missing, as told above. ${onServer("docs/runbooks.md, failover, tells how to get it. To go on without it: live-syncd stop --accept-loss && zmcontrol start")}\n`,
	);
	return lossCode;
}
