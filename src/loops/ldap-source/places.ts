import { join } from "node:path";
import type { BasePaths } from "../../services/paths.ts";

/** Where the live side keeps its one snapshot, and what it is called while it is made. */
export const snapshotPlaces = ({ ldap, ldapSnapshot }: BasePaths) =>
	({
		/** whole, and all that the mirror may fetch */
		current: ldapSnapshot,
		/** whose it is: see LdapSource.owners */
		owner: join(ldap, "snapshot.owner"),
		making: join(ldap, "snapshot.new"),
		old: join(ldap, "snapshot.old"),
		lock: join(ldap, "snapshot.lock"),
	}) as const;
