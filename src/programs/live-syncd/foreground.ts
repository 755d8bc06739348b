import { type ChildProcess, spawn } from "node:child_process";
import type { Config } from "../../services/config.ts";
import { writePidFile } from "../../services/pid-file.ts";
import { identify } from "../../services/processes.ts";
import { ownCommand } from "../../services/self.ts";
import { pidFileOf } from "./loop.ts";
import { becomeMirror } from "./start.ts";

/**
 * Both loops in the foreground, each a process of its own, the log on the terminal; ends both when it
 * is told to end, or when one of them has ended.
 */
export async function foreground(config: Config): Promise<number> {
	const loops = await becomeMirror(config, {}, async (missing) => {
		if (missing.length > 0) process.stdout.write("Starting processes in realtime\n");
		const [file = "", ...words] = ownCommand();
		const started: ChildProcess[] = [];
		for (const name of missing) {
			const command = [...words, "--config", config.base.config, "loop", name, "--terminal"];
			const loop = spawn(file, command, { stdio: ["ignore", "inherit", "inherit"] });
			started.push(loop);
			const process = loop.pid === undefined ? undefined : identify(loop.pid);
			if (process !== undefined) await writePidFile(pidFileOf(config, name), process);
		}
		return started;
	});
	if (loops.length === 0) {
		process.stdout.write("Process already running\n");
		return 0;
	}
	const endAll = () => {
		for (const loop of loops) loop.kill("SIGTERM");
	};
	for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.on(signal, endAll);
	const codes = await Promise.all(
		loops.map(
			(loop) =>
				new Promise<number>((resolve) => {
					loop.once("error", () => resolve(1));
					loop.once("exit", (code) => {
						endAll();
						resolve(code ?? 1);
					});
				}),
		),
	);
	return Math.max(...codes);
}
