import { join } from "node:path";
import type { Config } from "../config.ts";
import { environmentsOf, readDatabases } from "./directory.ts";
import { environmentUsers } from "./users.ts";

/**
 * Whether a slapd of this host has the databases of data/ldap open, by the locks of the kernel: Zimbra's
 * commands ask the host that zimbra_server_hostname leads to, and with a line missing in /etc/hosts that is
 * the live one. Undefined where there is no LMDB environment to tell by.
 */
export async function slapdIsHere({ zimbra }: Config): Promise<boolean | undefined> {
	const databases = await readDatabases(zimbra.ldap, zimbra.ldap, zimbra.home).catch(() => []);
	const environments = environmentsOf(databases).map((place) => join(zimbra.ldap, place));
	if (environments.length === 0) return undefined;
	return (await environmentUsers(environments)).some(({ serves }) => serves);
}
