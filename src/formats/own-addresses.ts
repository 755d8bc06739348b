/**
 * The addresses that the kernel counts as this machine's, as /proc shows them to everybody. Interfaces
 * that are down or without a carrier count: os.networkInterfaces() lists only those that are up and
 * running, which is of no use on the night when the cable is out.
 *
 * Measured on Linux 6.18: an IPv4 address stays in fib_trie without a carrier and when the interface is
 * set down. An IPv6 address stays in if_inet6 without a carrier; setting the interface down removes it
 * from the machine (unless net.ipv6.conf.*.keep_addr_on_down is set).
 */

/** IPv4 addresses in the text of /proc/net/fib_trie: the leaves that lead to this host itself. */
export function parseFibTrie(text: string): string[] {
	const found = new Set<string>();
	let leaf = "";
	for (const line of text.split("\n")) {
		leaf = /^\s*\|-- ([\d.]+)$/.exec(line)?.[1] ?? leaf;
		// 127.0.0.0/8 leads here as well, and is no address of an interface.
		if (/^\s*\/32 host LOCAL\b/.test(line)) found.add(leaf);
	}
	return [...found];
}

/** IPv6 addresses in the text of /proc/net/if_inet6, in their long spelling. */
export function parseIfInet6(text: string): string[] {
	return text
		.split("\n")
		.map((line) => /^([\da-f]{32})\s/i.exec(line)?.[1]?.match(/.{4}/g)?.join(":"))
		.filter((address) => address !== undefined);
}
