import { setTimeout as sleep } from "node:timers/promises";
import type { Config } from "../../services/config.ts";
import { writeDurably } from "../../services/files.ts";
import { readPidFile } from "../../services/pid-file.ts";
import { clearStopFile } from "./loop.ts";
import { makeDirectories } from "./setting-up.ts";

/**
 * `live-syncd stop`: ends the loops, replays all that was received, and leaves the server ready for
 * `zmcontrol start`. Needs nothing of the live server.
 */
export async function stop(config: Config): Promise<number> {
	await makeDirectories(config);
	const { base } = config;
	await writeDurably(base.stopFile, "");
	try {
		await waitForLoops(config);
	} finally {
		await clearStopFile(config);
	}
	process.stdout.write("done\n");
	return 0;
}

async function waitForLoops({ base, settings }: Config): Promise<void> {
	let told = false;
	const deadline = performance.now() + settings.replay_timeout + settings.service_timeout;
	for (;;) {
		const redo = await readPidFile(base.pidRedo);
		const ldap = await readPidFile(base.pidLdap);
		if (redo === undefined && ldap === undefined) return;
		if (!told) process.stdout.write("Waiting for sync operations to complete...\n");
		told = true;
		if (performance.now() > deadline) {
			throw new Error(
				`process ${redo?.pid ?? ldap?.pid} does not come to an end; live-syncd kill ends it at once`,
			);
		}
		await sleep(100);
	}
}
