import { lookup } from "node:dns/promises";
import { BlockList, isIPv4, isIPv6 } from "node:net";
import { hasCode } from "../../errors.ts";
import { deadline } from "../clock.ts";

/** What a name leads to on this machine, and which of these addresses are its own. */
export type NameLead = {
	readonly addresses: readonly string[];
	readonly foreign: readonly string[];
};

/**
 * Resolves a name as Zimbra's programs do, by getaddrinfo(3): /etc/hosts first, where nsswitch.conf does
 * not say otherwise. No address where it leads nowhere.
 * @param own addresses of this machine's interfaces
 * Throws where no answer comes in time, or the resolver fails.
 */
export async function followName(
	name: string,
	own: readonly string[],
	timeoutMs: number,
): Promise<NameLead> {
	const late = deadline(timeoutMs, `${name} was not resolved`);
	const given = new Promise<never>((_, reject) => {
		late.addEventListener("abort", () => reject(late.reason));
	});
	const found = await Promise.race([lookup(name, { all: true }), given]).catch((error: unknown) => {
		if (hasCode(error, "ENOTFOUND")) return [];
		throw error;
	});
	const addresses = [...new Set(found.map(({ address }) => plain(address)))];
	const local = localAddresses(own.map(plain));
	return { addresses, foreign: addresses.filter((address) => !check(local, address)) };
}

/** All of 127.0.0.0/8 is this machine, whatever its interfaces are called. */
function localAddresses(own: readonly string[]): BlockList {
	const list = new BlockList();
	list.addSubnet("127.0.0.0", 8, "ipv4");
	list.addAddress("::1", "ipv6");
	for (const address of own) {
		if (isIPv4(address)) list.addAddress(address, "ipv4");
		else if (isIPv6(address)) list.addAddress(address, "ipv6");
	}
	return list;
}

const check = (list: BlockList, address: string): boolean =>
	list.check(address, isIPv6(address) ? "ipv6" : "ipv4");

/** Without the interface of a link-local address, and IPv4 as IPv4. */
const plain = (address: string): string =>
	address.replace(/%.*$/, "").replace(/^::ffff:(?=\d+\.)/i, "");
