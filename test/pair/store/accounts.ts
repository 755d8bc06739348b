import { execFile } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";

export type Account = { readonly id: string; readonly mail: string; readonly name: string };

/** What mailboxd and zmplayredo ask LDAP. Throws where LDAP does not answer. */
export interface Directory {
	accountById(id: string): Promise<Account | undefined>;
	accountByMail(mail: string): Promise<Account | undefined>;
	/** of the global configuration */
	setting(name: string): Promise<string | undefined>;
	serverId(): Promise<string>;
}

/** Below zimbra_home; for pairs without slapd, it is the whole directory. */
export const accountFile = "data/ldap/mdb/db/accounts.json";
export type AccountFile = {
	serverId: string;
	settings: Record<string, string>;
	accounts: Account[];
	/** others of the installation, and their services */
	otherServers?: Record<string, string[]>;
};

/** Where there is such a file, it is the directory; else it is the slapd of this host. */
export const openDirectory = (home: string, hostDirectory: string): Directory =>
	existsSync(join(home, accountFile))
		? new FileDirectory(home)
		: new LdapDirectory(home, hostDirectory);

class FileDirectory implements Directory {
	readonly #home: string;

	constructor(home: string) {
		this.#home = home;
	}

	async accountById(id: string): Promise<Account | undefined> {
		return this.#read().accounts.find((each) => each.id === id);
	}

	async accountByMail(mail: string): Promise<Account | undefined> {
		return this.#read().accounts.find((each) => each.mail === mail);
	}

	async setting(name: string): Promise<string | undefined> {
		return this.#read().settings[name];
	}

	async serverId(): Promise<string> {
		return this.#read().serverId;
	}

	/** As with slapd, nothing is known while the service is down. */
	#read(): AccountFile {
		const pid = Number(readFileSync(join(this.#home, "data/ldap/state/run/slapd.pid"), "utf8"));
		process.kill(pid, 0);
		return JSON.parse(readFileSync(join(this.#home, accountFile), "utf8")) as AccountFile;
	}
}

/** Asks with ldapsearch, as the admin account whose password is in localconfig.xml. */
class LdapDirectory implements Directory {
	readonly #home: string;
	readonly #url: string;
	/** As Zimbra does: an account that was found is not asked for again. */
	readonly #found = new Map<string, Account>();

	constructor(home: string, hostDirectory: string) {
		this.#home = home;
		this.#url = ldapUrl(hostDirectory);
	}

	accountById(id: string): Promise<Account | undefined> {
		return this.#account(`(zimbraId=${escaped(id)})`);
	}

	accountByMail(mail: string): Promise<Account | undefined> {
		return this.#account(`(mail=${escaped(mail)})`);
	}

	async setting(name: string): Promise<string | undefined> {
		return (await this.#search("cn=config,cn=zimbra", "base", "(objectClass=*)"))[0]?.[name]?.[0];
	}

	async serverId(): Promise<string> {
		const [server] = await this.#search(
			"cn=servers,cn=zimbra",
			"one",
			"(objectClass=zimbraServer)",
		);
		return server?.["zimbraId"]?.[0] ?? "unknown";
	}

	async #account(filter: string): Promise<Account | undefined> {
		const known = this.#found.get(filter);
		if (known !== undefined) return known;
		const entries = await this.#search("", "sub", `(&(objectClass=zimbraAccount)${filter})`);
		const entry = entries[0];
		if (entry === undefined) return undefined;
		const account = {
			id: entry["zimbraId"]?.[0] ?? "",
			mail: entry["mail"]?.[0] ?? "",
			name: entry["uid"]?.[0] ?? "",
		};
		this.#found.set(filter, account);
		return account;
	}

	async #search(base: string, scope: string, filter: string): Promise<Entry[]> {
		const words = ["-b", base, "-s", scope, filter];
		const { stdout } = await promisify(execFile)("ldapsearch", [
			...["-x", "-LLL", "-o", "ldif-wrap=no", "-H", this.#url, "-D", adminDn],
			...["-w", localConfig(this.#home)["zimbra_ldap_password"] ?? "", ...words],
		]);
		return parseEntries(stdout);
	}
}

export type Entry = Record<string, string[]>;
export const adminDn = "uid=zimbra,cn=admins,cn=zimbra";

export const ldapUrl = (hostDirectory: string): string =>
	`ldapi://${encodeURIComponent(join(hostDirectory, "run/ldapi"))}`;

/** The entries of an LDIF text without folded lines. */
export function parseEntries(ldif: string): Entry[] {
	return ldif
		.split("\n\n")
		.filter((block) => block.trim() !== "")
		.map((block) => {
			const entry: Entry = {};
			for (const line of block.split("\n")) {
				const [, name = "", coded, value = ""] = /^([^:]+):(:?) ?(.*)$/.exec(line) ?? [];
				if (name === "") continue;
				const text = coded === ":" ? Buffer.from(value, "base64").toString("utf8") : value;
				entry[name] = [...(entry[name] ?? []), text];
			}
			return entry;
		});
}

/** conf/localconfig.xml as names and values. */
export function localConfig(home: string): Record<string, string> {
	const xml = readFileSync(join(home, "conf/localconfig.xml"), "utf8");
	const keys = xml.matchAll(/<key name="([^"]+)">\s*<value>([^<]*)<\/value>/g);
	return Object.fromEntries([...keys].map(([, name, value]) => [name, value]));
}

const escaped = (text: string): string =>
	text.replaceAll(/[\\*()\0]/g, (c) => `\\${c.charCodeAt(0).toString(16).padStart(2, "0")}`);
