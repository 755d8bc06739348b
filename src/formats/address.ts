/** Whether two names are of the same host: case does not count, nor a dot at the end (RFC 4343). */
export const sameHostName = (one: string, other: string): boolean =>
	plainName(one) === plainName(other);

const plainName = (name: string): string => name.toLowerCase().replace(/\.$/, "");

/**
 * Whether a text is an IPv4 or IPv6 address, by the rules of node:net's isIP: to load node:net for
 * it would take a tenth of the time in which a short command starts.
 */
export function isAddress(text: string): boolean {
	if (/^\d/.test(text) && !text.includes(":")) return isIPv4(text);
	const [, bare = ""] = /^([\da-f:.]+)(?:%[\da-z.:-]+)?$/i.exec(text) ?? [];
	return bare.includes(":") && URL.canParse(`http://[${bare}]/`);
}

function isIPv4(text: string): boolean {
	const parts = text.split(".");
	return (
		parts.length === 4 && parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && +part < 256)
	);
}

/**
 * One spelling for each address: IPv6 has many, and an IPv4 address has one in IPv6 too. Without its zone
 * (fe80::1%eth0), which names an interface of one host only.
 * @param address one for which {@link isAddress} is true
 */
export function canonicalAddress(address: string): string {
	const bare = address.replace(/%.*$/, "");
	if (!bare.includes(":")) return bare;
	const ipv6 = new URL(`http://[${bare}]/`).hostname.slice(1, -1);
	const [, high, low] = /^::ffff:([\da-f]{1,4}):([\da-f]{1,4})$/.exec(ipv6) ?? [];
	if (high === undefined || low === undefined) return ipv6;
	const bytes = [high, low].flatMap((half) => {
		const number = Number.parseInt(half, 16);
		return [number >> 8, number & 255];
	});
	return bytes.join(".");
}
