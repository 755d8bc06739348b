import { spawn } from "node:child_process";
import { constants } from "node:os";
import type { Serve } from "./context.ts";

/** How long rsync may take to end when its client is gone, before it is killed. */
const graceMs = 2000;

/**
 * The reading side of an rsync pull; the grammar has let through nothing else. It gets our standard
 * input and output as they are, and an environment that the client has no part in.
 */
export const serve: Serve<"rsync"> = async ({ words }, { config, signal }) => {
	const { path, user, zimbra_home } = config.settings;
	const child = spawn("rsync", words, {
		stdio: "inherit",
		env: { PATH: path.join(":"), HOME: zimbra_home, USER: user, LC_ALL: "C" },
	});
	let kill: NodeJS.Timeout | undefined;
	const end = () => {
		child.kill("SIGTERM");
		kill = setTimeout(() => child.kill("SIGKILL"), graceMs);
	};
	signal.addEventListener("abort", end, { once: true });
	try {
		return await new Promise<number>((resolve, reject) => {
			child.once("error", (error) => {
				reject(
					new Error(`rsync could not be started from ${path.join(":")}: install it here`, {
						cause: error,
					}),
				);
			});
			child.once("exit", (code, name) => {
				resolve(code ?? 128 + (name === null ? 0 : constants.signals[name]));
			});
			if (signal.aborted) end();
		});
	} finally {
		clearTimeout(kill);
		signal.removeEventListener("abort", end);
	}
};
