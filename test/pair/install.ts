import { randomUUID } from "node:crypto";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Host } from "./host.ts";
import { makeLdap } from "./ldap-install.ts";
import { writeEmptyLog } from "./redo/log-writer.ts";
import { type Account, type AccountFile, accountFile } from "./store/accounts.ts";

export type InstallOptions = {
	/** these, or so many of user1@example.net, user2@…; without mailboxes until their first mail */
	readonly accounts: number | readonly Account[];
	/** a real slapd; without, a process of that name and a file */
	readonly ldap: false | LdapOptions;
	/** `network` has a backup schedule: incremental ones move the archived redo logs away */
	readonly edition: "foss" | "network";
	/** global settings beside {@link defaultSettings} */
	readonly zimbraSettings: Readonly<Record<string, string>>;
};

export type LdapOptions = {
	/** as Zimbra ships it: writemap, nometasync, dbnosync; false for plain file I/O with fsync */
	readonly writemap: boolean;
	/** more entries, to make the database large */
	readonly entries?: number;
};

/** As the original's page asks for it; Zimbra ships DeleteOnRollover TRUE. */
export const defaultSettings: Readonly<Record<string, string>> = {
	zimbraRedoLogEnabled: "TRUE",
	zimbraRedoLogDeleteOnRollover: "FALSE",
	zimbraRedoLogRolloverFileSizeKB: "1048576",
	zimbraRedoLogRolloverMinFileAge: "60",
	zimbraRedoLogRolloverHardMaxFileSizeKB: "4194304",
};

/** A name that leads to this machine wherever the tests run, as that of a real server leads to itself. */
export const serverName = "localhost";
export const mailOf = (number: number): string => `user${number}@example.net`;

/** Makes a host what it is after the installation of Zimbra, stopped. */
export function install(host: Host, options: InstallOptions): void {
	const serverId = randomUUID();
	const settings = { ...defaultSettings, ...options.zimbraSettings };
	const accounts =
		typeof options.accounts === "number"
			? Array.from({ length: options.accounts }, (_, i) => makeAccount(i + 1))
			: [...options.accounts];
	writeLocalConfig(host);
	const edition = options.edition === "network" ? "NETWORK" : "FOSS";
	writeFileSync(
		host.path(".version"),
		`Release 8.8.15.GA.3869.UBUNTU18.64 UBUNTU18_64 ${edition} edition, Patch 8.8.15_P20.\n`,
	);
	if (options.edition === "network")
		writeFileSync(
			host.path("conf/backup-schedule"),
			"Current Schedule:\n\n\tf 0 1 * * 6\n\ti 0 1 * * 0-5\n\td 1m 0 0 * * *\n",
		);
	else rmSync(host.path("bin/zmschedulebackup"));
	writeEmptyLog(host.path("redolog/redo.log"), serverId);
	if (options.ldap !== false) makeLdap(host, options.ldap, { serverId, settings, accounts });
	else {
		const file: AccountFile = { serverId, settings: { ...settings }, accounts };
		mkdirSync(join(host.path(accountFile), ".."), { recursive: true });
		writeFileSync(host.path(accountFile), JSON.stringify(file, null, "\t"));
	}
}

const makeAccount = (number: number): Account => ({
	id: randomUUID(),
	mail: mailOf(number),
	name: `user${number}`,
});

function writeLocalConfig(host: Host): void {
	const values = {
		zimbra_home: "/opt/zimbra",
		zimbra_server_hostname: serverName,
		zimbra_user: host.user,
		zimbra_ldap_userdn: "uid=zimbra,cn=admins,cn=zimbra",
		zimbra_ldap_password: "secret-of-zimbra",
		ldap_root_password: "secret-of-root",
		zimbra_mysql_password: "secret-of-mysql",
	};
	const keys = Object.entries(values).map(
		([name, value]) => `  <key name="${name}">\n    <value>${value}</value>\n  </key>\n`,
	);
	writeFileSync(
		host.path("conf/localconfig.xml"),
		`<?xml version="1.0" encoding="UTF-8"?>\n\n<localconfig>\n${keys.join("")}</localconfig>\n`,
		{ mode: 0o640 },
	);
}
