import { dirname } from "node:path";
import { hasCode } from "../../errors.ts";
import { type Config, checkUser, findConfigFile, loadConfig } from "../../services/config.ts";
import { makeDirectory } from "../../services/files.ts";
import { programPath } from "../../services/own-path.ts";
import { notWritable } from "../../services/trial.ts";

/** The configuration that `--config`, the environment or the place of the program leads to. */
export async function configure(option: string | undefined): Promise<Config> {
	const config = await loadConfig(
		findConfigFile({
			option,
			variable: process.env.LIVE_SYNC_CONF,
			program: programPath(),
		}),
	);
	checkUser(config.settings);
	return config;
}

/** The directories of the 2011 scripts, and those with which the runbooks have a person work. */
export async function makeDirectories({ base }: Config): Promise<void> {
	const parents = [base.lock, base.pidRedo, base.log, base.stopFile].map((file) => dirname(file));
	for (const directory of [...parents, base.ldap, base.failed, base.aside]) {
		await makeDirectory(directory).catch((error: unknown) => {
			throw hasCode(error, "ENOSPC", "EDQUOT") ? error : notWritable(directory, error);
		});
	}
}
