import { networkInterfaces } from "node:os";
import { Refusal } from "../errors.ts";
import { canonicalAddress } from "../formats/address.ts";
import { parseFibTrie, parseIfInet6 } from "../formats/own-addresses.ts";
import type { Config } from "./config.ts";
import { readIfThere } from "./files.ts";
import { readRole } from "./role.ts";

/**
 * A configuration of which it is known which server is this one. Only what talks to the other server
 * takes one: `stop`, `status` and `kill` work where the machine's addresses tell nothing, on the night
 * when the cable is out.
 */
export type PeerConfig = Config & {
	readonly localAddress: string;
	readonly remoteAddress: string;
};

/** The network addresses of a machine. */
export type OwnAddresses = {
	/** of interfaces that are up and have a carrier */
	readonly running: readonly string[];
	/** those, and of interfaces that are down or without a carrier */
	readonly all: readonly string[];
};

type ServerName = "server1" | "server2";

/**
 * Finds which of the two servers this machine is: as the setting `local` says, else by the addresses of
 * the machine, else as the last `start` found it (status/role.json).
 * @param warn told where what was found before counts, or counts no more
 * Throws a {@link Refusal} (bad-config) where nothing tells.
 */
export async function knowPeer(
	config: Config,
	warn: (message: string) => void,
	addresses: () => Promise<OwnAddresses> = ownAddresses,
): Promise<PeerConfig> {
	const { settings } = config;
	const local =
		settings.local === "auto" ? await findLocal(config, warn, await addresses()) : settings.local;
	return {
		...config,
		localAddress: settings[local],
		remoteAddress: settings[local === "server1" ? "server2" : "server1"],
	};
}

async function findLocal(
	{ settings, base }: Config,
	warn: (message: string) => void,
	{ running, all }: OwnAddresses,
): Promise<ServerName> {
	const among = (addresses: readonly string[]): ServerName[] => {
		const own = new Set(addresses.map(canonicalAddress));
		return (["server1", "server2"] as const).filter((name) =>
			own.has(canonicalAddress(settings[name])),
		);
	};
	const here = among(all);
	const { local } = await readRole(base.role);
	const [kept] = local === undefined ? [] : among([local]);
	if (here.length === 1) {
		const [found] = here;
		if (found === undefined) throw new Error("no server found");
		if (local !== undefined && kept !== found) {
			warn(
				`the address of this server was ${local} at the last start; by the addresses of this machine it is ${found} (${settings[found]}) now`,
			);
		}
		return found;
	}
	const both = `server1 (${settings.server1}) and server2 (${settings.server2})`;
	const finding = `${here.length === 0 ? "neither" : "both"} of ${both} is an address of this machine`;
	if (kept !== undefined) {
		warn(`${finding}; at the last start it was ${kept}, which counts until the addresses tell`);
		return kept;
	}
	// The other server's address may wait on an interface that is down, to be taken over.
	const [up, another] = among(running);
	if (up !== undefined && another === undefined) return up;
	throw new Refusal(
		"bad-config",
		`${base.config}: ${finding}`,
		'mend the addresses, or say which it is: local="server1"',
	);
}

export async function ownAddresses(): Promise<OwnAddresses> {
	const running = Object.values(networkInterfaces()).flatMap((list) =>
		(list ?? []).map(({ address }) => address),
	);
	// A container may hide them.
	const read = async (file: string) => (await readIfThere(file).catch(() => undefined)) ?? "";
	const ipv4 = parseFibTrie(await read("/proc/net/fib_trie"));
	const ipv6 = parseIfInet6(await read("/proc/net/if_inet6"));
	return { running, all: [...running, ...ipv4, ...ipv6] };
}
