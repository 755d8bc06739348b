export type PlaybackOptions = {
	readonly fromSeq: number | undefined;
	readonly toSeq: number | undefined;
	readonly fromTime: number;
	readonly toTime: number;
	readonly mailboxId: number | undefined;
	readonly logfiles: readonly string[] | undefined;
	readonly stopOnError: boolean;
	readonly threads: number;
	readonly queueCapacity: number;
	readonly help: boolean;
};

export const usage = `usage: zmplayredo <options>
    --fromSeq <arg>         Replay from this redolog sequence (inclusive)
    --fromTime <arg>        Replay from this time (inclusive)
 -h,--help                  Show help (this output)
    --logfiles <arg>        Replay these logfiles, in order
    --mailboxId <arg>       Replay for this mailbox only
    --queueCapacity <arg>   Queue capacity per player thread; default=100
    --stopOnError           Stop replay on any error
    --threads <arg>         Number of parallel redo threads; default=50
    --toSeq <arg>           Replay to this redolog sequence (inclusive)
    --toTime <arg>          Replay to this time (inclusive)
`;

/** The words of the command line; undefined for what Zimbra refuses with its usage. */
export function parseOptions(words: readonly string[]): PlaybackOptions | undefined {
	const given = new Map<string, string[]>();
	let current: string[] | undefined;
	for (const word of words) {
		if (word.startsWith("-")) {
			const name = word.replace(/^--?/, "");
			if (!known.has(name)) return undefined;
			current = [];
			given.set(name === "help" ? "h" : name, current);
		} else if (current === undefined) return undefined;
		else current.push(word);
	}
	const number = (name: string): number | undefined => {
		const text = given.get(name)?.[0];
		return text === undefined ? undefined : Number.parseInt(text, 10);
	};
	const fromTime = time(given.get("fromTime"), Number.MIN_SAFE_INTEGER);
	const toTime = time(given.get("toTime"), Number.MAX_SAFE_INTEGER);
	const [fromSeq, toSeq] = [number("fromSeq"), number("toSeq")];
	if ((fromSeq ?? 0) > (toSeq ?? Infinity) || fromTime > toTime) return undefined;
	if ([fromTime, toTime].some(Number.isNaN)) return undefined;
	return {
		fromSeq,
		toSeq,
		fromTime,
		toTime,
		mailboxId: number("mailboxId"),
		logfiles: given.get("logfiles"),
		stopOnError: given.has("stopOnError"),
		threads: number("threads") ?? 50,
		queueCapacity: number("queueCapacity") ?? 100,
		help: given.has("h"),
	};
}

const known = new Set([
	...["fromSeq", "toSeq", "fromTime", "toTime", "mailboxId", "logfiles"],
	...["stopOnError", "threads", "queueCapacity", "h", "help"],
]);

/** `yyyy/MM/dd HH:mm:ss` in the local time zone, or ms since the epoch. */
function time(words: readonly string[] | undefined, otherwise: number): number {
	if (words === undefined) return otherwise;
	const text = words.join(" ");
	return /^\d{10,}$/.test(text) ? Number(text) : Date.parse(text);
}
