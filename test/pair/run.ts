import { spawn } from "node:child_process";
import { constants } from "node:os";

export type Finished = {
	/** 128 + number of the signal where one ended it, as a shell says it */
	readonly code: number;
	readonly stdout: string;
	readonly stderr: string;
};

/** Runs a program until it has exited. Unlike execFile it does not wait for daemons that inherited the output. */
export function runToEnd(
	file: string,
	words: readonly string[],
	options: { env?: NodeJS.ProcessEnv; cwd?: string; input?: string } = {},
): Promise<Finished> {
	return new Promise((resolve, reject) => {
		const { input, ...rest } = options;
		const child = spawn(file, words, { ...rest, stdio: ["pipe", "pipe", "pipe"] });
		let stdout = "";
		let stderr = "";
		child.stdout.setEncoding("utf8").on("data", (text: string) => {
			stdout += text;
		});
		child.stderr.setEncoding("utf8").on("data", (text: string) => {
			stderr += text;
		});
		child.stdin.on("error", () => {}); // it need not read what we say
		child.stdin.end(input ?? "");
		child.on("error", reject);
		child.on("exit", (code, name) => {
			const finish = () => {
				clearTimeout(timer);
				child.stdout.destroy();
				child.stderr.destroy();
				resolve({
					code: code ?? 128 + (name === null ? 0 : constants.signals[name]),
					stdout,
					stderr,
				});
			};
			// Mostly the output ends with the program; a daemon that it left may hold it open for ever.
			child.once("close", finish);
			const timer = setTimeout(finish, 200);
		});
	});
}
