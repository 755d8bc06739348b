import { reportLdapChanges } from "../../loops/ldap-source/changes.ts";
import { watchName } from "../../loops/ldap-source/snapshot.ts";
import { ownIdentity } from "../../services/processes.ts";
import type { Serve } from "./context.ts";
import { ldapSource } from "./ldap-source.ts";
import { output } from "./output.ts";

/** What the LDAP directory is, at each change and each heartbeat, until the mirror is gone. */
export const serve: Serve<"ldap_changes"> = async (_, { config, input, signal, log }) => {
	const source = await ldapSource(config, signal, watchName(ownIdentity()));
	const client = output();
	const reason = await reportLdapChanges(source, input(), client);
	client.destroy();
	log("info", "LDAP watch ended", { reason });
	return 0;
};
