import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { builtPair, startMirror } from "./mirror.ts";
import { median, type Say, type Size, short } from "./numbers.ts";

const root = join(import.meta.dirname, "../..");

/** How long a command takes from its start to its exit, beside a Node that does nothing. */
export async function benchStartUp(size: Size, say: Say): Promise<void> {
	await using pair = await builtPair();
	const { a, b } = pair;
	await startMirror(pair);
	const program = (name: string, config: string, word: string) => [
		join(root, "dist", name),
		...["--config", config, word],
	];
	const commands: Record<string, string[]> = {
		"node -e 0": [process.execPath, "-e", "0"],
		"live-syncd status": program("live-syncd", b.confFile, "status"),
		"live-syncd --version": [join(root, "dist/live-syncd"), "--version"],
		"sync-commands hello": program("sync-commands", a.confFile, "hello"),
		"sync-commands test": program("sync-commands", a.confFile, "test"),
	};
	const took = new Map(Object.keys(commands).map((name): [string, number[]] => [name, []]));
	for (let i = 0; i < (size === "quick" ? 5 : 30); i++) {
		for (const [name, [file = "", ...words]] of Object.entries(commands)) {
			const env = name.startsWith("node") ? {} : { ...a.environment, SSH_CONNECTION: undefined };
			const began = performance.now();
			const { status, stderr } = spawnSync(file, words, { env, encoding: "utf8" });
			if (status !== 0) throw new Error(`${name} exited ${status}: ${stderr}`);
			took.get(name)?.push(performance.now() - began);
		}
		await new Promise(setImmediate);
	}
	say("start-up, from exec to exit:");
	for (const [name, times] of took) {
		say(
			`  ${name.padEnd(22)} median ${short(median(times))} ms, least ${short(Math.min(...times))} ms`,
		);
	}
}
