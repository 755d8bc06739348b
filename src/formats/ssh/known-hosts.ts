import { createHmac } from "node:crypto";

/** One usable line of a known_hosts file. */
export type KnownHost = {
	/** key type as in the file, `ssh-ed25519` */
	readonly type: string;
	/** the raw public key, as ssh sends it */
	readonly key: Buffer;
	readonly revoked: boolean;
};

/** The name under which OpenSSH keeps a host: with the port only where it is not 22. */
export const hostName = (address: string, port: number): string =>
	port === 22 ? address : `[${address}]:${port}`;

/**
 * The keys that a known_hosts file (its format: sshd(8), SSH_KNOWN_HOSTS FILE FORMAT) has for a
 * host. Certificate authorities are passed over: a mirror has one peer, and pins its key. So is a line
 * with any other marker: what it says of the key is not known, and it must not pass for a plain one.
 */
export function findKnownHosts(text: string, name: string): KnownHost[] {
	const found: KnownHost[] = [];
	for (const line of text.split("\n")) {
		const words = line.trim().split(/\s+/);
		const marker = words[0]?.startsWith("@") ? words.shift() : undefined;
		const [hosts = "", type = "", key = ""] = words;
		if (hosts === "" || hosts.startsWith("#")) continue;
		if (marker !== undefined && marker !== "@revoked") continue;
		if (!matches(hosts, name)) continue;
		found.push({ type, key: Buffer.from(key, "base64"), revoked: marker === "@revoked" });
	}
	return found;
}

function matches(hosts: string, name: string): boolean {
	let matched = false;
	for (const pattern of hosts.split(",")) {
		if (pattern.startsWith("|1|")) {
			const [, , salt = "", hash = ""] = pattern.split("|");
			const hmac = createHmac("sha1", Buffer.from(salt, "base64")).update(name).digest("base64");
			matched ||= hmac === hash;
		} else if (pattern.startsWith("!")) {
			if (glob(pattern.slice(1), name)) return false;
		} else {
			matched ||= glob(pattern, name);
		}
	}
	return matched;
}

/**
 * `*` is any text, `?` any character, case does not count. One place to go back to is enough for any
 * number of stars, so the time is at most pattern times name; a regular expression made of the pattern
 * takes exponential time for some.
 */
function glob(pattern: string, name: string): boolean {
	const wanted = pattern.toLowerCase();
	const given = name.toLowerCase();
	let star = -1;
	let afterStar = 0;
	let at = 0;
	for (let i = 0; i < given.length; ) {
		if (wanted[at] === "*") {
			star = at;
			at += 1;
			afterStar = i;
		} else if (wanted[at] === "?" || wanted[at] === given[i]) {
			at += 1;
			i += 1;
		} else if (star >= 0) {
			afterStar += 1;
			i = afterStar;
			at = star + 1;
		} else return false;
	}
	return /^\**$/.test(wanted.slice(at));
}

export type HostKeyVerdict = "known" | "unknown host" | "other key" | "revoked";

/** What a file says of the key that a host has shown. */
export function judgeHostKey(known: readonly KnownHost[], shown: Buffer): HostKeyVerdict {
	const same = known.filter(({ key }) => key.equals(shown));
	if (same.some(({ revoked }) => revoked)) return "revoked";
	if (same.length > 0) return "known";
	return known.some(({ revoked }) => !revoked) ? "other key" : "unknown host";
}

/** By type of key: how it may sign. */
const algorithms: ReadonlyMap<string, readonly string[]> = new Map([
	["ssh-ed25519", ["ssh-ed25519"]],
	["ecdsa-sha2-nistp256", ["ecdsa-sha2-nistp256"]],
	["ecdsa-sha2-nistp384", ["ecdsa-sha2-nistp384"]],
	["ecdsa-sha2-nistp521", ["ecdsa-sha2-nistp521"]],
	["ssh-rsa", ["rsa-sha2-512", "rsa-sha2-256"]],
]);

/**
 * The signature algorithms to ask for, so that the host shows the key that is pinned and not one
 * of another type. A line of a type that is not known here says nothing of the others.
 */
export function hostKeyAlgorithms(known: readonly KnownHost[]): string[] {
	return known.flatMap(({ type, revoked }) => (revoked ? [] : (algorithms.get(type) ?? [])));
}
