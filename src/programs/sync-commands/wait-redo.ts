import { readdir, stat } from "node:fs/promises";
import { hasCode } from "../../errors.ts";
import { parseArchiveName } from "../../formats/redolog/log-name.ts";
import type { ZimbraPaths } from "../../services/paths.ts";
import { Wake } from "../../services/wake.ts";
import type { Serve } from "./context.ts";
import { complain, makePulse, say } from "./output.ts";

const pollMs = 500;

/**
 * What `inotifywait -r -e moved_to redolog` did in 2011: waits for the first rollover and names the
 * archive as it did, `/opt/zimbra/redolog/archive/ MOVED_TO redo-…-seq7.log`. Where the log is deleted
 * at the rollover, there is only the new redo.log to name.
 */
export const serve: Serve<"wait_redo"> = async (_, { config, signal }) => {
	const { archive, redolog } = config.zimbra;
	complain("Setting up watches.");
	// Not at each append: a look at an archive of thousands for each would keep a processor busy.
	using wake = new Wake([archive, redolog], pollMs, "renames");
	const before = await look(config.zimbra);
	complain("Watches established.");
	const pulse = makePulse(signal);
	for (;;) {
		await wake.wait(signal);
		signal.throwIfAborted();
		const now = await look(config.zimbra);
		const [archived] = now.archived.filter((name) => !before.archived.includes(name));
		if (archived !== undefined) {
			await say(`${archive}/ MOVED_TO ${archived}\n`, signal);
			return 0;
		}
		if (before.inode === undefined) before.inode = now.inode;
		else if (now.inode !== undefined && now.inode !== before.inode) {
			await say(`${redolog}/ MOVED_TO redo.log\n`, signal);
			return 0;
		}
		await pulse();
	}
};

/** The current log first: a log is in the archive before there is a new redo.log. */
async function look({ archive, currentLog }: ZimbraPaths) {
	const inode = await stat(currentLog).then(({ ino }) => ino, absent);
	const names = (await readdir(archive).catch(absent)) ?? [];
	const archived = names
		.flatMap((name) => {
			const sequence = parseArchiveName(name)?.sequence;
			return sequence === undefined ? [] : [{ name, sequence }];
		})
		.toSorted((a, b) => a.sequence - b.sequence)
		.map(({ name }) => name);
	return { inode, archived };
}

function absent(error: unknown): undefined {
	if (!hasCode(error, "ENOENT")) throw error;
}
