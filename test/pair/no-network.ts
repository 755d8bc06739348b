import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import type { Host } from "./host.ts";
import { ownNamespace } from "./small-disk.ts";

export const ownNetworkNamespace = [...ownNamespace, "--net"];

/** Whether this machine lets us make a network of our own; tests skip themselves without. */
export const canMakeNetwork = (): boolean =>
	spawnSync("unshare", [...ownNetworkNamespace, "ip", "link", "add", "v0", "type", "veth"])
		.status === 0;

/**
 * Lets what is run on a host from now on see no network at all: no interface is up, no address is there.
 * What runs already keeps the network that it has.
 */
export async function withoutNetwork(host: Host): Promise<AsyncDisposable> {
	const holder = spawn("unshare", [...ownNetworkNamespace, "sh", "-c", "echo made; read -r _"], {
		env: host.environment,
		stdio: ["pipe", "pipe", "inherit"],
	});
	const ended = once(holder, "exit");
	await Promise.race([once(holder.stdout, "data"), ended]);
	if (holder.exitCode !== null) throw new Error("no network namespace could be made");
	host.enter(holder.pid, ["--net"]);
	return {
		async [Symbol.asyncDispose]() {
			host.enter(undefined);
			holder.stdin.end();
			await ended;
		},
	};
}
