import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { type Config, loadConfig } from "../../../src/services/config.ts";
import type { Logger } from "../../../src/services/log/logger.ts";
import { makeRun, type Run } from "../../../src/services/run.ts";

/** A Zimbra home whose commands are little shell scripts. */
export type ScriptedHost = AsyncDisposable & {
	readonly home: string;
	readonly config: Config;
	readonly run: Run;
	readonly log: Logger;
	/** messages that were logged */
	readonly logged: { readonly level: number; readonly msg: string }[];
	/** Writes bin/<name>. */
	script(name: string, body: string): Promise<void>;
	path(...below: string[]): string;
};

// What others can write is refused, and the umask of a developer may allow it.
process.umask(0o022);

const directories = ["bin", "log", "db/data", "store", "index", "data/ldap/state/run", "conf"];
const ours = ["lock", "pid", "log", "status/slices", "status/failed"];

/** @param settings lines of live_sync.conf */
export async function scriptedHost(settings: Record<string, string> = {}): Promise<ScriptedHost> {
	const home = await mkdtemp(join(tmpdir(), "live-sync-host-"));
	const path = (...below: string[]) => join(home, ...below);
	for (const each of directories) await mkdir(path(each), { recursive: true });
	for (const each of ["redolog/archive", ...ours.map((name) => `live_sync/${name}`)]) {
		await mkdir(path(each), { recursive: true });
	}
	const conf = {
		server1: "192.0.2.1",
		server2: "192.0.2.2",
		local: "server2",
		zimbra_home: home,
		service_timeout: "1m",
		command_timeout: "1m",
		...settings,
	};
	const lines = Object.entries(conf).map(([name, value]) => `${name}="${value}"\n`);
	await writeFile(path("live_sync/live_sync.conf"), lines.join(""));
	const config = await loadConfig(path("live_sync/live_sync.conf"));
	const logged: { level: number; msg: string }[] = [];
	const log = pino(
		{ level: "debug" },
		{ write: (line: string) => void logged.push(JSON.parse(line)) },
	);
	const script = async (name: string, body: string) => {
		await writeFile(path("bin", name), `#!/bin/sh\n${body}\n`);
		await chmod(path("bin", name), 0o755);
	};
	return {
		home,
		config,
		run: makeRun(config.settings),
		log,
		logged,
		script,
		path,
		[Symbol.asyncDispose]: () => rm(home, { recursive: true, force: true, maxRetries: 5 }),
	};
}
