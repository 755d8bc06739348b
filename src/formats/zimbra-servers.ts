/** One server of an installation, as LDAP has it. */
export type ZimbraServer = {
	readonly name: string;
	/** zimbraServiceEnabled: mailbox, ldap, mta, proxy, … */
	readonly services: readonly string[];
};

/** Reads what `zmprov gas -v` prints: for each server a line `# name NAME`, then `attribute: value`. */
export function readServers(output: string): ZimbraServer[] {
	const servers: { name: string; services: string[] }[] = [];
	for (const line of output.split("\n")) {
		const name = /^# name (\S+)$/.exec(line)?.[1];
		if (name !== undefined) servers.push({ name, services: [] });
		const service = /^zimbraServiceEnabled: (\S+)$/.exec(line)?.[1];
		if (service !== undefined) servers.at(-1)?.services.push(service);
	}
	return servers;
}

/**
 * Servers beside `own` that have a message store or a directory: what a mirror of one server alone
 * would lack, or would fight with. Without a name of its own, all count when there are several.
 */
export function otherStores(
	servers: readonly ZimbraServer[],
	own: string | undefined,
): ZimbraServer[] {
	const stores = servers.filter(({ services }) =>
		services.some((each) => each === "mailbox" || each === "ldap"),
	);
	if (own === undefined) return stores.length > 1 ? stores : [];
	return stores.filter(({ name }) => name !== own);
}
