import { formatZimbraSettings } from "../../formats/protocol/zimbra-settings.ts";
import { makeRun } from "../../services/run.ts";
import { readRedoSettings } from "../../services/zimbra/redo-settings.ts";
import { readStores } from "../../services/zimbra/servers.ts";
import type { Serve } from "./context.ts";
import { say } from "./output.ts";

/** What LDAP says of this installation: `start` asks once, nobody asks often. */
export const serve: Serve<"settings"> = async (_, { config, signal }) => {
	const parts = { run: makeRun(config.settings), config };
	const asked = [readRedoSettings(parts, signal), readStores(parts, signal)] as const;
	// Where one has failed the other's JVM still runs, and would outlive this program.
	await Promise.allSettled(asked);
	const [redo, stores] = await Promise.all(asked);
	await say(formatZimbraSettings({ redo, ...stores }), signal);
	return 0;
};
