import { realpathSync } from "node:fs";
import { isSea } from "node:sea";

/**
 * Where this program lies, whatever name it was started by: a single executable that the shell has found
 * through PATH has but its bare name in process.argv.
 */
export function programPath(): string {
	if (isSea()) return process.execPath;
	const [, script] = process.argv;
	if (script === undefined) throw new Error("this program is no file");
	return realpathSync(script);
}
