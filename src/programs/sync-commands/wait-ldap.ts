import { readdir } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { watch } from "chokidar";
import { describe } from "../../errors.ts";
import { readEnvironment } from "../../services/ldap/lmdb.ts";
import type { Serve } from "./context.ts";
import { complain, makePulse, say } from "./output.ts";

/**
 * What `inotifywait -r data/ldap` did in 2011: waits for the first change and names the file, such as
 * `/opt/zimbra/data/ldap/mdb/db/ MODIFY data.mdb`.
 *
 * File events alone do not do: since Zimbra 8 slapd writes its database through a memory map, which
 * makes none. So the transaction id of each LMDB environment is looked at, and files are watched for
 * the rest: cn=config, and the hdb databases of Zimbra 7.
 */
export const serve: Serve<"wait_ldap"> = async (_, { config, signal }) => {
	const root = config.zimbra.ldap;
	complain("Setting up watches.");
	const environments = await findEnvironments(root);
	const before = new Map<string, string>();
	// Those that cannot be read as LMDB 0.9 are watched as files, which is what there is.
	for (const each of environments) {
		const state = await readState(each).catch((error: unknown) => complain(describe(error)));
		if (state !== undefined) before.set(each, state);
	}
	const ownFiles = new Set(
		[...before.keys()].flatMap((each) => [join(each, "data.mdb"), join(each, "lock.mdb")]),
	);
	let changed: string | undefined;
	const watcher = watch(root, {
		ignoreInitial: true,
		atomic: false,
		ignored: (path) => ownFiles.has(path),
	});
	try {
		await new Promise<void>((resolve, reject) => {
			watcher.once("ready", resolve).once("error", reject);
		});
		watcher.on("all", (event, path) => {
			changed ??= `${dirname(path)}/ ${event.startsWith("unlink") ? "DELETE" : "MODIFY"} ${basename(path)}`;
		});
		watcher.on("error", (error) => {
			changed ??= `${root}/ MODIFY unknown: ${describe(error)}`;
		});
		complain("Watches established.");
		const pulse = makePulse();
		for (;;) {
			for (const [each, state] of before) {
				// One that cannot be read any more has changed, whatever became of it.
				const now = await readState(each).catch(() => undefined);
				if (now !== state) changed ??= `${each}/ MODIFY data.mdb`;
			}
			if (changed !== undefined) {
				await say(`${changed}\n`);
				return 0;
			}
			await pulse();
			await sleep(config.settings.ldap_poll, undefined, { signal });
		}
	} finally {
		await watcher.close();
	}
};

/** Directories with an LMDB environment below data/ldap. */
async function findEnvironments(root: string): Promise<string[]> {
	const entries = await readdir(root, { recursive: true, withFileTypes: true });
	return entries
		.filter((entry) => entry.name === "data.mdb" && !entry.isDirectory())
		.map((entry) => entry.parentPath);
}

async function readState(directory: string): Promise<string> {
	const { source, transactionId, mapSize } = await readEnvironment(directory);
	return `${source} ${transactionId} ${mapSize}`;
}
