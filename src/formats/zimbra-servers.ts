import { sameHostName } from "./address.ts";

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

/** The servers of an installation with a message store or a directory, seen from one of them. */
export type Stores = {
	/** its own name, as LDAP has it; undefined where LDAP does not have it, or it is not known here */
	readonly ownName: string | undefined;
	/** the others: what a mirror of one server alone would lack, or would fight with */
	readonly otherStores: readonly ZimbraServer[];
};

/** @param own zimbra_server_hostname: where LDAP has no such name, a single server is this one. */
export function findStores(servers: readonly ZimbraServer[], own: string | undefined): Stores {
	const stores = servers.filter(({ services }) =>
		services.some((each) => each === "mailbox" || each === "ldap"),
	);
	const isOwn = ({ name }: ZimbraServer) => own !== undefined && sameHostName(name, own);
	const ownName = servers.find(isOwn)?.name;
	if (ownName === undefined) return { ownName, otherStores: stores.length > 1 ? stores : [] };
	return { ownName, otherStores: stores.filter((each) => !isOwn(each)) };
}
