import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Host } from "./host.ts";

/**
 * Writes live_sync.conf and known_hosts of one host. Both addresses are this machine's, so `local`
 * says which side it is; ports and directories differ by side, where real servers have the same.
 */
export function writeConf(
	host: Host,
	peer: { host: Host; port: number },
	more: Readonly<Record<string, string>>,
): void {
	const values: Record<string, string> = {
		server1: host.name === "a" ? host.address : peer.host.address,
		server2: host.name === "a" ? peer.host.address : host.address,
		local: host.name === "a" ? "server1" : "server2",
		zimbra_home: host.home,
		user: host.user,
		ssh_port: String(peer.port),
		disk_floor: "1M",
		...more,
	};
	const lines = Object.entries(values).map(([name, value]) => `${name}="${value}"\n`);
	writeFileSync(host.confFile, lines.join(""));
	writeFileSync(
		join(host.path("live_sync"), "known_hosts"),
		`[${peer.host.address}]:${peer.port} ${peer.host.sshd.hostKey}\n`,
		{ mode: 0o600 },
	);
}
