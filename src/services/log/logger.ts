import { type DestinationStream, destination, type Logger, pino } from "pino";
import type { Settings } from "../../formats/settings/table.ts";
import { formatLogLine } from "./line.ts";

export type { Logger } from "pino";

type LogSettings = Pick<Settings, "log_format" | "log_level" | "log_rotate" | "log_keep">;

/**
 * The one logger. It appends, so that logrotate's copytruncate works, and writes each line at once,
 * so that the last words of a process that dies are there.
 * @param file path of the log, or "terminal" for standard output
 */
export async function makeLogger(file: string, settings: LogSettings): Promise<Logger> {
	const out = await openDestination(file, settings);
	const stream: DestinationStream =
		settings.log_format === "json"
			? out
			: { write: (line: string) => out.write(formatLogLine(JSON.parse(line))) };
	return pino({ level: settings.log_level, base: { pid: process.pid } }, stream);
}

async function openDestination(file: string, settings: LogSettings): Promise<DestinationStream> {
	if (file === "terminal") return destination({ fd: 1, sync: true });
	if (settings.log_rotate === "no") {
		return destination({ dest: file, append: true, mkdir: true, sync: true });
	}
	const { default: roll } = await import("pino-roll");
	return roll({
		file,
		frequency: settings.log_rotate,
		mkdir: true,
		sync: true,
		symlink: false,
		limit: { count: settings.log_keep },
	});
}
