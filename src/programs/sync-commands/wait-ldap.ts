import { basename, dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { hasCode } from "../../errors.ts";
import { environmentsOf, readDatabases, stateOfFiles } from "../../services/ldap/directory.ts";
import { readEnvironment } from "../../services/ldap/lmdb.ts";
import type { Serve } from "./context.ts";
import { complain, makePulse, say } from "./output.ts";

/**
 * What `inotifywait -r data/ldap` did in 2011: waits for the first change and names the file, such as
 * `/opt/zimbra/data/ldap/mdb/db/ MODIFY data.mdb`.
 *
 * It polls. Since Zimbra 8 slapd writes its database through a memory map, which makes no file events, and
 * inotify's instances and watches may be used up. Of each LMDB environment the transaction id is looked at,
 * of cn=config and of the hdb databases of Zimbra 7 the files.
 */
export const serve: Serve<"wait_ldap"> = async (_, { config, signal }) => {
	const { home, ldap: root } = config.zimbra;
	complain("Setting up watches.");
	const databases = await readDatabases(root, root, home);
	const look = async () => {
		const states = await stateOfFiles(root, databases);
		for (const place of environmentsOf(databases)) {
			states.set(`${place}/data.mdb`, await readState(join(root, place)));
		}
		return states;
	};
	const before = await look();
	complain("Watches established.");
	const pulse = makePulse(signal);
	for (;;) {
		await pulse();
		await sleep(config.settings.ldap_poll, undefined, { signal });
		const now = await look().catch((error: unknown) => {
			// A file was replaced while it was looked at, or is gone: the next look tells which.
			if (hasCode(error, "ENOENT")) return before;
			throw error;
		});
		const path = [...now.keys(), ...before.keys()].find(
			(each) => now.get(each) !== before.get(each),
		);
		if (path === undefined) continue;
		const file = join(root, path);
		await say(
			`${dirname(file)}/ ${now.has(path) ? "MODIFY" : "DELETE"} ${basename(file)}\n`,
			signal,
		);
		return 0;
	}
};

async function readState(directory: string): Promise<string> {
	const { source, transactionId, mapSize } = await readEnvironment(directory).catch(() => nothing);
	return `${source} ${transactionId} ${mapSize}`;
}

/** An environment that cannot be read any more has changed, whatever became of it. */
const nothing = { source: "", transactionId: 0, mapSize: 0 };
