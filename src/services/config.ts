import {
	closeSync,
	existsSync,
	fstatSync,
	openSync,
	readFileSync,
	type Stats,
	statSync,
} from "node:fs";
import { userInfo } from "node:os";
import { dirname, join, resolve } from "node:path";
import { describe, hasCode, Refusal } from "../errors.ts";
import { parseSettings } from "../formats/settings/parse.ts";
import type { Settings } from "../formats/settings/table.ts";
import { type BasePaths, basePaths, type ZimbraPaths, zimbraPaths } from "./paths.ts";

/** What the programs read in live_sync.conf; which server this machine is, stands in PeerConfig. */
export type Config = {
	readonly settings: Settings;
	readonly base: BasePaths;
	readonly zimbra: ZimbraPaths;
};

const defaultConfigFile = "/opt/zimbra/live_sync/live_sync.conf";

/** What a program knows that can tell where its configuration lies. */
export type ConfigHints = {
	/** the option --config */
	readonly option?: string | undefined;
	/** the variable LIVE_SYNC_CONF */
	readonly variable?: string | undefined;
	/** where the program lies */
	readonly program?: string | undefined;
};

/**
 * Where live_sync.conf is, for both programs: as told, else beside the program or one directory above
 * it, else where the 2011 scripts had it.
 */
export function findConfigFile({ option, variable, program }: ConfigHints): string {
	if (option !== undefined) return option;
	if (variable !== undefined && variable !== "") return variable;
	if (program !== undefined) {
		const directory = dirname(program);
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
	const text = readTrusted(path);
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
	return { settings, base, zimbra: zimbraPaths(settings.zimbra_home) };
}

/**
 * The text of the file, which names commands that are run: so nobody else may be able to write it, as ssh
 * asks of its own files. What others may read does no harm.
 */
function readTrusted(path: string): string {
	const own = userInfo().username;
	let file: number | undefined;
	try {
		file = openSync(path, "r");
		const text = readFileSync(file, "utf8");
		refuseUntrusted(path, fstatSync(file), own);
		const directory = dirname(path);
		refuseUntrusted(directory, statSync(directory), own);
		return text;
	} catch (error) {
		if (error instanceof Refusal) throw error;
		if (hasCode(error, "ENOENT", "ENOTDIR")) {
			throw new Refusal(
				"not-configured",
				`Configuration file, ${path}, not found`,
				'write server1="ADDRESS" and server2="ADDRESS" into it, see docs/settings.md',
			);
		}
		throw new Refusal(
			"bad-config",
			`Configuration file, ${path}, cannot be read by user ${own}: ${describe(error)}`,
			"it must be a file that the user of Zimbra may read, and both programs must run as that user",
		);
	} finally {
		if (file !== undefined) closeSync(file);
	}
}

const writableByOthers = 0o022;

function refuseUntrusted(path: string, { mode, uid }: Stats, own: string): void {
	const why = "commands that live_sync.conf names are run";
	if ((mode & writableByOthers) !== 0) {
		throw new Refusal(
			"bad-config",
			`${path} can be changed by others (mode ${(mode & 0o7777).toString(8)}), and ${why} as ${own}`,
			`chmod go-w ${path}`,
		);
	}
	if (uid === 0 || uid === process.getuid?.()) return;
	if (process.getuid?.() === 0) {
		throw new Refusal(
			"wrong-user",
			`${path} belongs to the user with the number ${uid}, as whom live-syncd must run, not as ${own}`,
			"su - zimbra, or whoever that user is, then the same command",
		);
	}
	throw new Refusal(
		"bad-config",
		`${path} belongs to the user with the number ${uid}, who can change it, and ${why} as ${own}`,
		`as root: chown ${own} ${path}`,
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
