import { existsSync } from "node:fs";
import { join } from "node:path";
import { describeResult, type RunResult } from "../run.ts";
import type { Database } from "./database.ts";
import type { ServiceParts } from "./service.ts";

/**
 * Puts what a replay run did on disk. Zimbra runs InnoDB with innodb_flush_log_at_trx_commit = 0, so
 * what is committed may be in memory only; blobs and index are not fsynced at all.
 * Throws where any of it did not succeed: nothing may count as replayed then.
 */
export async function makeDurable(
	{ run, config }: ServiceParts,
	database: Pick<Database, "volumes">,
): Promise<void> {
	const { mysql_flush_command, service_timeout } = config.settings;
	const flushed = await run(mysql_flush_command, { timeoutMs: service_timeout });
	if (!succeeded(flushed)) {
		throw new Error(
			`the database could not be told to write its log to disk: ${describeResult(mysql_flush_command, flushed)}; see that it runs: ${config.settings.mysql_check_command.join(" ")}`,
		);
	}
	const { database: tables, store, home } = config.zimbra;
	// Volumes may lie anywhere; store/ is only where the first one is by default.
	const volumes = await database.volumes();
	const directories = [tables, store, join(home, "index"), ...(volumes ?? [])].filter(existsSync);
	for (const directory of new Set(directories)) await syncFileSystem(directory);
	if (volumes === undefined && !(await syncEverything())) {
		throw new Error(
			"where the volumes are is not known, and sync, which would write all that is mounted to disk, failed",
		);
	}

	/** Node has no syncfs(2); `sync -f` of coreutils 8.24 and later has, and reports its errors. */
	async function syncFileSystem(directory: string): Promise<void> {
		const command = ["sync", "-f", directory];
		const result = await run(command, { timeoutMs: service_timeout });
		if (succeeded(result)) return;
		if (/invalid option|unrecognized option|extra operand/.test(result.stderr)) {
			if (await syncEverything()) return;
		}
		throw new Error(
			`${directory} could not be written to disk: ${describeResult(command, result)}; look for disk errors in the kernel log (dmesg)`,
		);
	}

	async function syncEverything(): Promise<boolean> {
		return succeeded(await run(["sync"], { timeoutMs: service_timeout }));
	}
}

const succeeded = (result: RunResult): boolean =>
	result.exitCode === 0 && result.ended === "by itself";
