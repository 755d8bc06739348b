import { access, constants } from "node:fs/promises";
import { cronHasIncremental, schedulesIncremental } from "../../formats/backup-schedule.ts";
import { makeRun } from "../../services/run.ts";
import type { Serve } from "./context.ts";
import { say } from "./output.ts";

/** `true` where incremental backups move the archives away, `false` on editions without them. */
export const serve: Serve<"query_incremental"> = async (_, { config, signal }) => {
	const { zmschedulebackup_command, command_timeout } = config.settings;
	await say(`${await isScheduled()}\n`, signal);
	return 0;

	async function isScheduled(): Promise<boolean> {
		const [program = ""] = zmschedulebackup_command;
		const installed = await access(program, constants.X_OK).then(
			() => true,
			() => false,
		);
		if (!installed) return false;
		const run = makeRun(config.settings);
		const limits = { timeoutMs: command_timeout, signal };
		// The schedule is kept in the crontab: what cron does is true, whatever the tool prints.
		if (cronHasIncremental((await run(["crontab", "-l"], limits)).stdout)) return true;
		return schedulesIncremental((await run([...zmschedulebackup_command, "-q"], limits)).stdout);
	}
};
