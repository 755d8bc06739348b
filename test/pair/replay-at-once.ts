import { mkdirSync, rmSync } from "node:fs";
import { logsIn } from "./committed.ts";
import type { Host } from "./host.ts";
import type { StoreDump } from "./store-dump.ts";

/**
 * What one zmplayredo makes of all redo logs of a host that has kept them from the beginning: each
 * committed operation once, in order. It takes the place of the host's store.
 */
export async function replayAtOnce(host: Host): Promise<StoreDump> {
	await host.mustRun("mysql.server", "stop");
	for (const each of ["db/data", "store/0", "store/incoming"]) {
		rmSync(host.path(each), { recursive: true, force: true });
		mkdirSync(host.path(each), { recursive: true });
	}
	// It exits with 1 where slapd runs, as the real one does.
	if (host.servicePid("ldap") === undefined) await host.mustRun("ldap", "start");
	await host.mustRun("mysql.server", "start");
	await host.mustRun("zmplayredo", "--logfiles", ...logsIn(host.path("redolog")));
	const dump = await host.dumpStore();
	await host.mustRun("mysql.server", "stop");
	await host.mustRun("ldap", "stop");
	return dump;
}
