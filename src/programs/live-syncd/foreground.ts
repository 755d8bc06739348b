import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process";
import type { PeerConfig } from "../../services/peer-config.ts";
import { writePidFile } from "../../services/pid-file.ts";
import { identify } from "../../services/processes.ts";
import { loopCommand, pidFileOf, terminalOption } from "./loop.ts";
import { becomeMirror } from "./start.ts";

const endings = ["SIGTERM", "SIGINT", "SIGHUP"] as const;

/**
 * Both loops in the foreground, each a process of its own, the log on the terminal; ends both when it
 * is told to end, or when one of them has ended.
 */
export async function foreground(config: PeerConfig): Promise<number> {
	const loops: ChildProcess[] = [];
	const codes: Promise<number>[] = [];
	let ending = false;
	const endAll = () => {
		ending = true;
		for (const loop of loops) loop.kill("SIGTERM");
	};
	await becomeMirror(config, {}, async (missing) => {
		process.stdout.write("Starting processes in realtime\n");
		// Before there is a loop: none may outlive this process because that was told too soon.
		for (const signal of endings) process.on(signal, endAll);
		for (const name of missing) {
			// The one before has ended, or this process was told to: nobody would end the next one.
			if (ending) return;
			const [file = "", ...words] = loopCommand(config, name);
			const options: SpawnOptions = { stdio: ["ignore", "inherit", "inherit"] };
			const loop = spawn(file, [...words, terminalOption], options);
			loops.push(loop);
			codes.push(
				new Promise((resolve) => {
					loop.once("error", () => {
						endAll();
						resolve(1);
					});
					loop.once("exit", (code) => {
						endAll();
						resolve(code ?? 1);
					});
				}),
			);
			const identity = loop.pid === undefined ? undefined : identify(loop.pid);
			if (identity !== undefined) await writePidFile(pidFileOf(config, name), identity);
		}
	});
	return Math.max(0, ...(await Promise.all(codes)));
}
