/* oxlint-disable no-control-regex -- control characters are what is looked for */

/**
 * Words of others: of the other server's programs, shell and sshd, of rsync, of Zimbra's tools. They
 * end in messages, logs, `status` and on the terminal of an admin, so whoever wrote them must not be
 * able to forge a line, to move the cursor, to turn text around (bidi) or to fill a disk.
 */

/** Characters that are kept of what another one says: long enough for any message of this trade. */
const usualLimit = 1000;

/**
 * What a terminal takes as an order: CSI … (colours, cursor), OSC … (title, clipboard, links) where it
 * ends, and the short ones. Source: ECMA-48, 5.4 and 5.6. Linear: no part can begin inside another.
 */
const terminalOrders =
	// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
	/(?:\u001b\[|\u009b)[0-?]*[ -/]*[@-~]?|(?:\u001b[\]PX^_]|[\u0090\u0098\u009d-\u009f])[^\u0007\u001b\u0090-\u009f]*(?:\u0007|\u001b\\|\u009c)|\u001b[ -/]*[0-~]?/g;
/** Line ends, separators of lines and paragraphs, all other control characters. */
const breaks = /[\p{Cc}\p{Zl}\p{Zp}]+/gu;
/** Format characters (bidi, joiners, tags), private ones, halves of a pair: nothing that one can read. */
const unseen = /[\p{Cf}\p{Co}\p{Cs}]+/gu;

/**
 * One line of plain text of what another one said. Where it is cut, a mark says so.
 * @param limit characters of it that are kept
 */
export function foreignWords(text: string, limit = usualLimit): string {
	return cut(text, limit, plain);
}

/** The same for text of several lines: one behind the other, with a bar between. */
export function foreignLines(text: string, limit = usualLimit): string {
	return cut(text, limit, (head) =>
		head
			.split(/\r\n|\n|\r/)
			.map(plain)
			.filter((line) => line !== "")
			.join(" | "),
	);
}

/** Most of what is said: the large classes of characters need not be loaded for it. */
const harmless = /^[ -~]*$/;

const plain = (text: string): string =>
	harmless.test(text)
		? text.trim()
		: text.replaceAll(terminalOrders, "").replaceAll(breaks, " ").replaceAll(unseen, "").trim();

function cut(text: string, limit: number, clean: (text: string) => string): string {
	// A text of megabytes is not walked as a whole: much of it may be nothing that stays.
	const head = text.slice(0, 8 * limit);
	const cleaned = clean(head);
	if (cleaned.length <= limit && head.length === text.length) return cleaned;
	const kept = cleaned.slice(0, limit).replace(/[\uD800-\uDBFF]$/, "");
	return `${kept.trimEnd()} […cut, of ${text.length} characters]`;
}

/**
 * A line of JSON in which every character that is no plain text stands as an escape: the values are
 * the same, and whoever looks at the file on a terminal is safe.
 */
export const plainJson = (line: string): string => (/^[ -~\n]*$/.test(line) ? line : escaped(line));

const escaped = (line: string): string =>
	line.replaceAll(/[\p{Cf}\p{Zl}\p{Zp}\u007f-\u009f]/gu, (each) =>
		each
			.split("")
			.map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)
			.join(""),
	);
