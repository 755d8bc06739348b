import { formatRedoSettings } from "../../formats/protocol/redo-settings.ts";
import { makeRun } from "../../services/run.ts";
import { readRedoSettings } from "../../services/zimbra/redo-settings.ts";
import type { Serve } from "./context.ts";
import { say } from "./output.ts";

/** Zimbra's redo log settings: `start` asks once, nobody asks often. */
export const serve: Serve<"settings"> = async (_, { config, signal }) => {
	const parts = { run: makeRun(config.settings), config };
	await say(formatRedoSettings(await readRedoSettings(parts, signal)));
	return 0;
};
