import { Refusal } from "../../errors.ts";
import type { Config } from "../../services/config.ts";
import { readRole } from "../../services/role.ts";
import { makeRun } from "../../services/run.ts";
import { makeMailboxd } from "../../services/zimbra/mailboxd.ts";

/** The admin may have made this server the live one: then its LDAP is the one that counts. */
export async function stillMirror(config: Config): Promise<void> {
	const { role } = await readRole(config.base.role);
	if (role === "live") {
		throw new Refusal(
			"is-live",
			`this server was made the live one (${config.base.role}), so its LDAP is left alone`,
			"to make it a mirror again: see docs/runbooks.md",
		);
	}
	const found = await makeMailboxd({ run: makeRun(config.settings), config }).process();
	if (found === undefined) return;
	throw new Refusal(
		"mailboxd-up",
		`mailboxd runs on this server, process ${found.pid}: it may be the live one now, so its LDAP is left alone`,
		"if this is the mirror: zmcontrol stop, then live-syncd stop, then docs/runbooks.md, divergence",
	);
}
