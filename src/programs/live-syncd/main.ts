import { tell } from "./tell.ts";

/**
 * `live-syncd`, on the mirror. Gives the exit code (docs/commands.md): 0 done, 1 refused or failed,
 * 2 a command line that makes no sense; `status`: 0 both loops run, 1 one of them, 3 none.
 */
export async function main(argv: readonly string[]): Promise<number> {
	try {
		// cron asks for the status every minute: the parser of options, which takes as long to load as
		// Node itself, is not needed for that.
		const plain = plainStatus(argv);
		if (plain !== undefined) {
			const { status } = await import("./status.ts");
			return await status(plain);
		}
		const { runProgram } = await import("./program.ts");
		return await runProgram(argv);
	} catch (error) {
		tell(error);
		return 1;
	}
}

/** The options of a `status` that is written as nearly everybody writes it; else undefined. */
function plainStatus(
	argv: readonly string[],
): { config: string | undefined; json: boolean } | undefined {
	const words = [...argv];
	const config = words[0] === "--config" ? words.splice(0, 2)[1] : undefined;
	const json = words[1] === "--json" && words.length === 2;
	if (words[0] !== "status" || (words.length !== 1 && !json)) return undefined;
	return { config, json };
}
