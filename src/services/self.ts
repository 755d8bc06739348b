import { spawn } from "node:child_process";
import { isSea } from "node:sea";
import { programPath } from "./own-path.ts";
import { identify, type ProcessIdentity } from "./processes.ts";

/** The words that start this program again: the executable alone, or Node and the script. */
export function ownCommand(): string[] {
	return isSea() ? [programPath()] : [process.execPath, programPath()];
}

/** Starts a command as a daemon: in a session of its own, without a terminal. */
export function startDaemon([file = "", ...words]: readonly string[]): ProcessIdentity {
	const child = spawn(file, words, { detached: true, stdio: "ignore", cwd: "/" });
	// It says no more than that there is no process.
	child.once("error", () => undefined);
	child.unref();
	const identity = child.pid === undefined ? undefined : identify(child.pid);
	if (identity === undefined) throw new Error(`${file} could not be started`);
	return identity;
}
