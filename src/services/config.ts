import { existsSync } from "node:fs";
import { networkInterfaces, userInfo } from "node:os";
import { dirname, join, resolve } from "node:path";
import { describe, Refusal } from "../errors.ts";
import { canonicalAddress } from "../formats/address.ts";
import { parseSettings } from "../formats/settings/parse.ts";
import type { Settings } from "../formats/settings/table.ts";
import { readIfThere } from "./files.ts";
import { type BasePaths, basePaths, type ZimbraPaths, zimbraPaths } from "./paths.ts";

/** All that the programs know of where they are. */
export type Config = {
	readonly settings: Settings;
	readonly base: BasePaths;
	readonly zimbra: ZimbraPaths;
	readonly localAddress: string;
	readonly remoteAddress: string;
};

const defaultConfigFile = "/opt/zimbra/live_sync/live_sync.conf";

/** What a program knows that can tell where its configuration lies. */
export type ConfigHints = {
	/** the option --config */
	readonly option?: string | undefined;
	/** the variable LIVE_SYNC_CONF */
	readonly variable?: string | undefined;
	/** path of the program as it was started */
	readonly executable?: string | undefined;
};

/**
 * Where live_sync.conf is, for both programs: as told, else beside the program or one directory above
 * it, else where the 2011 scripts had it.
 */
export function findConfigFile({ option, variable, executable }: ConfigHints): string {
	if (option !== undefined) return option;
	if (variable !== undefined && variable !== "") return variable;
	if (executable !== undefined) {
		const directory = dirname(resolve(executable));
		for (const each of [directory, dirname(directory)]) {
			const file = join(each, "live_sync.conf");
			if (existsSync(file)) return file;
		}
	}
	return defaultConfigFile;
}

/**
 * Reads live_sync.conf; the base directory is the one it lies in.
 * Throws a {@link Refusal} that names every problem of the file at once.
 */
export async function loadConfig(file: string): Promise<Config> {
	const path = resolve(file);
	const base = basePaths(dirname(path));
	const text = await readIfThere(path).catch((error: unknown) => {
		throw new Refusal(
			"bad-config",
			`Configuration file, ${path}, cannot be read by user ${userInfo().username}: ${describe(error)}`,
			"it must be a file that the user of Zimbra may read, and both programs must run as that user",
		);
	});
	if (text === undefined) {
		throw new Refusal(
			"not-configured",
			`Configuration file, ${path}, not found`,
			'write server1="ADDRESS" and server2="ADDRESS" into it, see docs/settings.md',
		);
	}
	const { settings, problems } = parseSettings(text, { base_dir: base.base });
	if (problems !== undefined) {
		const lines = problems.map(({ line, message }) =>
			line === 0 ? `${path}: ${message}` : `${path}:${line}: ${message}`,
		);
		throw new Refusal(
			"bad-config",
			lines.join("\n"),
			"mend the file; docs/settings.md has every setting",
		);
	}
	const local = settings.local === "auto" ? findLocal(settings, path) : settings.local;
	const remote = local === "server1" ? "server2" : "server1";
	return {
		settings,
		base,
		zimbra: zimbraPaths(settings.zimbra_home),
		localAddress: settings[local],
		remoteAddress: settings[remote],
	};
}

function findLocal(settings: Settings, path: string): "server1" | "server2" {
	const own = new Set(
		Object.values(networkInterfaces()).flatMap((list) =>
			(list ?? []).map(({ address }) => canonicalAddress(address)),
		),
	);
	const here = (["server1", "server2"] as const).filter((name) =>
		own.has(canonicalAddress(settings[name])),
	);
	const [only] = here;
	if (here.length === 1 && only !== undefined) return only;
	const found = here.length === 0 ? "neither" : "both";
	throw new Refusal(
		"bad-config",
		`${path}: ${found} of server1 (${settings.server1}) and server2 (${settings.server2}) is an address of this machine`,
		'mend the addresses, or say which it is: local="server1"',
	);
}

/** Both programs must run as the user that owns Zimbra's files, as the original did. */
export function checkUser(settings: Settings): void {
	const { username } = userInfo();
	if (username === settings.user) return;
	throw new Refusal(
		"wrong-user",
		`Must run as ${settings.user} user, not as ${username}`,
		`su - ${settings.user}, then the same command`,
	);
}
