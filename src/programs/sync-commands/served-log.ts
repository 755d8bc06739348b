import { appendFileSync, lstatSync, mkdirSync, renameSync } from "node:fs";
import { dirname } from "node:path";
import { describe, hasCode } from "../../errors.ts";
import { plainJson } from "../../formats/foreign-words.ts";
import { formatLogLine } from "../../services/log/line.ts";
import type { ServedLog } from "./context.ts";
import { complain } from "./output.ts";

const levels = { info: 30, warn: 40, error: 50 } as const;

/**
 * Appends one line for each thing that is said, whole, in one write, so that the lines of several
 * sessions do not mix. It does without pino, which takes longer to load than most requests to serve.
 * A log that cannot be written does not stop the service: on a full disk the mirror needs its redo log
 * more than ever.
 */
export function servedLog(
	file: string,
	format: "lines" | "json",
	session: Readonly<Record<string, unknown>>,
): ServedLog {
	let told = false;
	return (level, sentence, facts) => {
		const record = {
			...{ level: levels[level], time: Date.now(), pid: process.pid, program: "sync-commands" },
			...session,
			...facts,
			msg: sentence,
		};
		const line =
			format === "json" ? plainJson(`${JSON.stringify(record)}\n`) : formatLogLine(record);
		try {
			append(file, line);
		} catch (error) {
			if (!told) complain(`sync-commands: ${file} cannot be written: ${describe(error)}`);
			told = true;
		}
	};
}

/** Whoever has the key makes it grow. logrotate, where it is there, comes earlier. */
const mostBytes = 256 * 2 ** 20;

function append(file: string, line: string): void {
	moveAway(file);
	try {
		appendFileSync(file, line, { mode: 0o640 });
	} catch (error) {
		if (!hasCode(error, "ENOENT")) throw error;
		mkdirSync(dirname(file), { recursive: true, mode: 0o750 });
		appendFileSync(file, line, { mode: 0o640 });
	}
}

/**
 * One old log is kept. Its name is none of logrotate's (.1), which stops where that is taken. Where this
 * goes wrong the log still takes the line.
 */
function moveAway(file: string): void {
	try {
		// A link to elsewhere is the admin's, and so is what it leads to.
		const stat = lstatSync(file, { throwIfNoEntry: false });
		if (stat?.isFile() === true && stat.size > mostBytes) renameSync(file, `${file}.old`);
	} catch {}
}
