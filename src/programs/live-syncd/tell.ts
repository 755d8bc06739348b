import { describe, hintOf, Refusal } from "../../errors.ts";
import { foreignWords } from "../../formats/foreign-words.ts";
import { onServer } from "../../services/manual.ts";

/** Longer than any message of ours; some have the words of others in them. */
const longest = 4000;

/** Each line of what is said; what the words of others could do to a terminal is gone. */
const plain = (text: string): string =>
	text
		.split("\n")
		.map((line) => foreignWords(line.trimEnd(), longest))
		.join("\n");

/** Says once, at the edge, what is wrong and what to do about it. */
export function tell(error: unknown): void {
	process.stderr.write(explain(error));
}

function explain(error: unknown): string {
	const { message, code, hint } = inPlainWords(error);
	return `live-syncd: ${message}${code === undefined ? "" : `  [${code}]`}\n${hint === undefined ? "" : `  try: ${hint}\n`}`;
}

/** The parts of what is said of an error, fit for a terminal of this server. */
export function inPlainWords(error: unknown): {
	readonly message: string;
	readonly code: string | undefined;
	readonly hint: string | undefined;
} {
	const hint = hintOf(error);
	return {
		message: plain(describe(error)),
		code: error instanceof Refusal ? error.code : undefined,
		hint: hint === undefined ? undefined : plain(onServer(hint)),
	};
}
