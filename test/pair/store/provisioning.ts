import { randomUUID } from "node:crypto";
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { serverName } from "../install.ts";
import { accountLdif } from "../ldap-install.ts";
import { runToEnd } from "../run.ts";
import {
	type AccountFile,
	accountFile,
	adminDn,
	type Entry,
	ldapUrl,
	localConfig,
	parseEntries,
} from "./accounts.ts";

/** What zmprov says after `ERROR: `. */
export class ProvisioningError extends Error {}

export interface Provisioning {
	/** Returns its id. */
	createAccount(mail: string, password: string): Promise<string>;
	/** @param key its mail address or its zimbraId, as zmprov takes either */
	account(key: string): Promise<Entry>;
	accounts(): Promise<string[]>;
	modifyAccount(mail: string, values: Record<string, string>): Promise<void>;
	settings(): Promise<Entry>;
	modifySettings(values: Record<string, string>): Promise<void>;
	server(name: string): Promise<Entry>;
	servers(): Promise<string[]>;
	modifyServer(name: string, values: Record<string, string>): Promise<void>;
}

export const openProvisioning = (home: string, hostDirectory: string): Provisioning =>
	existsSync(join(home, accountFile)) ? new InFile(home) : new InLdap(home, hostDirectory);

const noSuch = (what: string, name: string) =>
	new ProvisioningError(`account.NO_SUCH_${what.toUpperCase()} (no such ${what}: ${name})`);
const exists = (mail: string) =>
	new ProvisioningError(
		`account.ACCOUNT_EXISTS (email address already exists: ${mail}, at DN: uid=${mail.split("@")[0]})`,
	);

class InLdap implements Provisioning {
	readonly #url: string;
	readonly #password: string;

	constructor(home: string, hostDirectory: string) {
		this.#url = ldapUrl(hostDirectory);
		this.#password = localConfig(home)["zimbra_ldap_password"] ?? "";
	}

	async createAccount(mail: string, password: string): Promise<string> {
		const id = randomUUID();
		const name = mail.split("@")[0] ?? "";
		const { code } = await this.#run("ldapadd", [], accountLdif({ id, mail, name }, password));
		if (code === 68) throw exists(mail);
		if (code !== 0) throw new Error("LDAP refuses");
		return id;
	}

	async account(key: string): Promise<Entry> {
		const named = `(|(mail=${key})(zimbraId=${key}))`;
		const [found] = await this.#search("", `(&(objectClass=zimbraAccount)${named})`);
		if (found === undefined) throw noSuch("account", key);
		return found;
	}

	async accounts(): Promise<string[]> {
		const all = await this.#search("", "(objectClass=zimbraAccount)");
		return all.flatMap((each) => each["mail"] ?? []).sort();
	}

	async modifyAccount(mail: string, values: Record<string, string>): Promise<void> {
		await this.#modify((await this.account(mail))["dn"]?.[0] ?? "", values);
	}

	async settings(): Promise<Entry> {
		const [found] = await this.#search("cn=config,cn=zimbra", "(objectClass=*)");
		if (found === undefined) throw new Error("no global configuration");
		return found;
	}

	modifySettings(values: Record<string, string>): Promise<void> {
		return this.#modify("cn=config,cn=zimbra", values);
	}

	async server(name: string): Promise<Entry> {
		const [found] = await this.#search(
			"cn=servers,cn=zimbra",
			`(&(objectClass=zimbraServer)(cn=${name}))`,
		);
		if (found === undefined) throw noSuch("server", name);
		return found;
	}

	async servers(): Promise<string[]> {
		const all = await this.#search("cn=servers,cn=zimbra", "(objectClass=zimbraServer)");
		return all.flatMap((each) => each["cn"] ?? []);
	}

	modifyServer(name: string, values: Record<string, string>): Promise<void> {
		return this.#modify(`cn=${name},cn=servers,cn=zimbra`, values);
	}

	async #search(base: string, filter: string): Promise<Entry[]> {
		const words = ["-LLL", "-o", "ldif-wrap=no", "-b", base, filter];
		const { code, stdout } = await this.#run("ldapsearch", words);
		if (code !== 0 && code !== 32) throw new Error(`ldapsearch exited ${code}`);
		return parseEntries(stdout);
	}

	async #modify(dn: string, values: Record<string, string>): Promise<void> {
		const changes = Object.entries(values).map(([name, value]) =>
			value === "" ? `replace: ${name}\n-` : `replace: ${name}\n${name}: ${value}\n-`,
		);
		const ldif = `dn: ${dn}\nchangetype: modify\n${changes.join("\n")}\n`;
		const { code, stderr } = await this.#run("ldapmodify", [], ldif);
		if (code === 32) throw noSuch("account", dn);
		if (code === 17 || code === 65)
			throw new ProvisioningError(
				`account.INVALID_ATTR_NAME (invalid attr name: ${stderr.trim()})`,
			);
		if (code !== 0) throw new Error("LDAP refuses");
	}

	#run(command: string, words: string[], input = "") {
		const bind = ["-x", "-H", this.#url, "-D", adminDn, "-w", this.#password];
		return runToEnd(command, [...bind, ...words], { input });
	}
}

/** For pairs without slapd. */
class InFile implements Provisioning {
	readonly #home: string;

	constructor(home: string) {
		this.#home = home;
	}

	async createAccount(mail: string): Promise<string> {
		const id = randomUUID();
		this.#change((file) => {
			if (file.accounts.some((each) => each.mail === mail)) throw exists(mail);
			file.accounts.push({ id, mail, name: mail.split("@")[0] ?? "" });
		});
		return id;
	}

	async account(key: string): Promise<Entry> {
		const found = this.#read().accounts.find(({ mail, id }) => mail === key || id === key);
		if (found === undefined) throw noSuch("account", key);
		return {
			uid: [found.name],
			mail: [found.mail],
			zimbraId: [found.id],
			zimbraMailHost: [serverName],
		};
	}

	async accounts(): Promise<string[]> {
		return this.#read()
			.accounts.map(({ mail }) => mail)
			.sort();
	}

	async modifyAccount(mail: string): Promise<void> {
		await this.account(mail);
	}

	async settings(): Promise<Entry> {
		const settings = Object.entries(this.#read().settings);
		return Object.fromEntries(settings.map(([name, value]) => [name, [value]]));
	}

	async modifySettings(values: Record<string, string>): Promise<void> {
		this.#change((file) => Object.assign(file.settings, values));
	}

	async server(name: string): Promise<Entry> {
		const other = this.#read().otherServers?.[name];
		if (other !== undefined) return { cn: [name], zimbraServiceEnabled: other };
		if (name !== serverName) throw noSuch("server", name);
		return {
			cn: [serverName],
			zimbraId: [this.#read().serverId],
			zimbraServiceHostname: [serverName],
			zimbraServiceEnabled: ["ldap", "mailbox", "mta"],
		};
	}

	async servers(): Promise<string[]> {
		return [serverName, ...Object.keys(this.#read().otherServers ?? {})];
	}

	modifyServer(_name: string, values: Record<string, string>): Promise<void> {
		return this.modifySettings(values);
	}

	#read(): AccountFile {
		const pid = Number(readFileSync(join(this.#home, "data/ldap/state/run/slapd.pid"), "utf8"));
		process.kill(pid, 0);
		return JSON.parse(readFileSync(join(this.#home, accountFile), "utf8")) as AccountFile;
	}

	#change(change: (file: AccountFile) => void): void {
		const file = this.#read();
		change(file);
		const path = join(this.#home, accountFile);
		writeFileSync(`${path}.new`, JSON.stringify(file, null, "\t"));
		renameSync(`${path}.new`, path);
	}
}
