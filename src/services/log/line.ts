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
	const sentence = `${who === undefined ? "" : `${who}: `}${oneLine(String(record.msg ?? ""))}`;
	return `${time} ${level} ${sentence}${facts.join("")}\n`;
}

function formatFact(value: unknown): string {
	const text = typeof value === "string" ? value : JSON.stringify(value);
	return /^[\w.:/@+-]+$/.test(text)
		? text
		: JSON.stringify(typeof value === "string" ? value : text);
}

/** What comes from the other side must not be able to forge a line of its own. */
const oneLine = (text: string): string => text.replaceAll(/[\p{Cc}\u2028\u2029]+/gu, " ").trim();
