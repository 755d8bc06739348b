import { createHmac } from "node:crypto";

/**
 * Zimbra's commands bind to LDAP with passwords from localconfig.xml, and the same passwords stand in
 * the directory. A copied directory with changed passwords locks the mirror's commands out, so the
 * two files are compared, without a password leaving the host: only a keyed digest of each does.
 */
export type PasswordDigests = {
	/** hex, new for each connection */
	readonly nonce: string;
	/** HMAC-SHA256 of each password by the name of its key */
	readonly digests: Readonly<Record<string, string>>;
};

/** Without these two nothing on the mirror can bind: zmprov, zmplayredo, mailboxd. */
export const essentialPasswords: readonly string[] = ["zimbra_ldap_password", "ldap_root_password"];

/** A name of the other side stands in a command that an admin is told to type. */
export const isPasswordName = (name: string): boolean => /^[a-z][a-z0-9_]{0,80}$/.test(name);

/** The LDAP passwords of a localconfig.xml, by key. */
export function findPasswords(localconfig: string): Map<string, string> {
	const found = new Map<string, string>();
	const withoutComments = localconfig.replaceAll(/<!--[\s\S]*?-->/g, "");
	const entry = /<key\s+name="([^"]+)"\s*>\s*<value>([^<]*)<\/value>/g;
	for (const [, name = "", value = ""] of withoutComments.matchAll(entry)) {
		if (isPasswordName(name) && /ldap.*password$/.test(name)) found.set(name, value);
	}
	return found;
}

export function digestPasswords(localconfig: string, nonce: string): PasswordDigests {
	const key = Buffer.from(nonce, "hex");
	const digests: Record<string, string> = {};
	for (const [name, value] of findPasswords(localconfig)) {
		digests[name] = createHmac("sha256", key).update(`${name}\0${value}`).digest("hex");
	}
	return { nonce, digests };
}

/** Names of the passwords that are not the same on both hosts, or that only one of them has. */
export function differingPasswords(live: PasswordDigests, localconfig: string): string[] {
	const own = digestPasswords(localconfig, live.nonce).digests;
	const names = new Set([...Object.keys(live.digests), ...Object.keys(own)]);
	return [...names].filter((name) => live.digests[name] !== own[name]).toSorted();
}
