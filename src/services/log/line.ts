import { foreignWords, plainJson } from "../../formats/foreign-words.ts";

/** A log record as pino makes it: level number, time, sentence, and the facts as further fields. */
export type LogFields = Record<string, unknown>;

const levels: Record<number, string> = {
	20: "debug",
	30: "info",
	40: "warn",
	50: "error",
	60: "fatal",
};
const own = new Set(["level", "time", "msg", "program", "loop", "pid", "hostname"]);

/** `2026-11-23T16:20:00.123Z info  redo: streaming position=17:4096 lagBytes=0` and a line feed. */
export function formatLogLine(record: LogFields): string {
	const time = new Date(Number(record.time)).toISOString();
	const level = (levels[Number(record.level)] ?? "info").padEnd(5);
	const who = record.loop ?? record.program;
	const facts = Object.entries(record)
		.filter(([name, value]) => !own.has(name) && value !== undefined)
		.map(([name, value]) => ` ${name}=${formatFact(value)}`);
	const said = foreignWords(String(record.msg ?? ""), longest);
	const sentence = `${who === undefined ? "" : `${who}: `}${said}`;
	return `${time} ${level} ${sentence}${facts.join("")}\n`;
}

/** Whatever is said takes no more of a log than this: some of it comes from the other side. */
const longest = 4000;

function formatFact(value: unknown): string {
	const text = typeof value === "string" ? value : JSON.stringify(value);
	if (/^[\w.:/@+-]+$/.test(text) && text.length <= longest) return text;
	const whole = text.length <= longest ? text : foreignWords(text, longest);
	return plainJson(JSON.stringify(whole));
}
