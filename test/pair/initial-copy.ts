import { rmSync } from "node:fs";
import type { Host } from "./host.ts";
import { runToEnd } from "./run.ts";

/** What makes a host itself; on real servers these are the same on both sides, or made at start. */
const own = [
	"/live_sync/live_sync.conf",
	"/live_sync/known_hosts",
	"/.ssh/authorized_keys", // has the path of this host's own forced command
	"*.pid",
	"/data/ldap/state/run/*",
	"/data/ldap/mdb",
];

/** The second rsync of the original's page: all of zimbra_home of a stopped server, redo log included. */
export async function initialCopy(from: Host, to: Host): Promise<void> {
	for (const host of [from, to])
		if (host.servicePid("mailboxd") !== undefined)
			throw new Error(`the initial copy is made with Zimbra stopped, but host ${host.name} runs`);
	const excluded = own.map((each) => `--exclude=${each}`);
	const { code, stderr } = await runToEnd("rsync", [
		...["-aHS", "--force", "--delete", ...excluded],
		...[`${from.home}/`, `${to.home}/`],
	]);
	if (code !== 0) throw new Error(`rsync failed: ${stderr}`);
	// rsync would read the 80 GiB of the sparse data.mdb, for minutes; cp asks where its data is.
	rmSync(to.path("data/ldap/mdb"), { recursive: true, force: true });
	const copied = await runToEnd("cp", [
		...["-a", "--sparse=always", from.path("data/ldap/mdb"), to.path("data/ldap/mdb")],
	]);
	if (copied.code !== 0) throw new Error(`cp failed: ${copied.stderr}`);
}
