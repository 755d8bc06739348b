import { spawn } from "node:child_process";
import type { Config } from "../../services/config.ts";
import { ownCommand } from "../../services/self.ts";
import { clearLastLife, makeReady } from "./start.ts";

/**
 * Both loops in the foreground, each a process of its own, the log on the terminal; ends both when it
 * is told to end, or when one of them has ended.
 */
export async function foreground(config: Config): Promise<number> {
	const missing = await makeReady(config, {});
	if (missing.length === 0) {
		process.stdout.write("Process already running\n");
		return 0;
	}
	process.stdout.write("Starting processes in realtime\n");
	await clearLastLife(config, missing);
	const [file = "", ...words] = ownCommand();
	const loops = missing.map((name) =>
		spawn(file, [...words, "--config", config.base.config, "loop", name, "--terminal"], {
			stdio: ["ignore", "inherit", "inherit"],
		}),
	);
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
