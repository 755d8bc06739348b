import { type DestinationStream, destination, type Logger, pino } from "pino";
import { describe } from "../../errors.ts";
import { plainJson } from "../../formats/foreign-words.ts";
import type { Settings } from "../../formats/settings/table.ts";
import { onServer } from "../manual.ts";
import { formatLogLine } from "./line.ts";

export type { Logger } from "pino";

type LogSettings = Pick<Settings, "log_format" | "log_level" | "log_rotate" | "log_keep">;

/** Lines that wait for room on a full disk; what comes then is dropped. */
const maxWaiting = 1 << 20;

/**
 * The one logger. It appends, so that logrotate's copytruncate works, and writes each line at once,
 * so that the last words of a process that dies are there.
 * A log that cannot be written stops nothing: at a failover, or on a full disk, the work counts more.
 * @param terminal whether each line goes to standard output too
 */
export async function makeLogger(
	file: string,
	settings: LogSettings,
	terminal = false,
): Promise<Logger> {
	const out = await openDestination(file, settings).catch((error: unknown) => {
		process.stderr.write(`live-syncd: ${file} cannot be written: ${describe(error)}\n`);
		return terminal ? undefined : destination({ fd: 2, sync: true });
	});
	const outs = [
		...(out === undefined ? [] : [out]),
		...(terminal ? [destination({ ...common, fd: 1 })] : []),
	];
	// Without a listener the first failed write would end the process. The line is kept, and written
	// with the next one that finds room.
	for (const each of outs) each.on("error", () => undefined);
	const format =
		settings.log_format === "json" ? plainJson : (line: string) => formatLogLine(JSON.parse(line));
	const stream: DestinationStream = {
		write(line: string) {
			const text = format(line);
			for (const each of outs) each.write(text);
		},
	};
	// A hint may name pages and commands; in the log, too, it says what can be typed here.
	const serializers = {
		hint: (hint: unknown) => (typeof hint === "string" ? onServer(hint) : hint),
	};
	return pino({ level: settings.log_level, base: { pid: process.pid }, serializers }, stream);
}

type Destination = ReturnType<typeof destination>;

const common = { sync: true, maxLength: maxWaiting };

async function openDestination(file: string, settings: LogSettings): Promise<Destination> {
	if (settings.log_rotate === "no") {
		return destination({ ...common, dest: file, append: true, mkdir: true });
	}
	const { default: roll } = await import("pino-roll");
	return roll({
		...common,
		file,
		frequency: settings.log_rotate,
		// Both loops, and each that is started later, find the same name, and what is old by it.
		dateFormat: "yyyy-MM-dd",
		mkdir: true,
		symlink: false,
		limit: { count: settings.log_keep, removeOtherLogFiles: true },
	});
}
