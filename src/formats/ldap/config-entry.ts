import { Buffer } from "node:buffer";
import { foreignWords } from "../foreign-words.ts";

/**
 * One entry of cn=config as slapd keeps it in a file: LDIF (RFC 2849), one entry in each.
 * Source: OpenLDAP, servers/slapd/back-ldif, libraries/libldap/ldif.c.
 */
export type ConfigLine = {
	/** lower case, with its options: `olcdbindex`, `olctlscertificate;binary` */
	readonly name: string;
	/** as slapd takes it: decoded */
	readonly value: string;
};

/**
 * Reads an entry, and nothing that slapd could read in another way: it throws for whatever back-ldif does
 * not write itself. A value from a URL, a tab that folds a line (libldap takes one for a blank) or a second
 * entry would make the two readers differ, and the one that matters is slapd.
 */
export function parseConfigEntry(text: string): ConfigLine[] {
	const lines: string[] = [];
	let ended = false;
	for (const line of text.split("\n")) {
		if (line === "") ended = lines.length > 0;
		else if (ended) throw new Error(`there is more than one entry: ${foreignWords(line, 100)}`);
		else if (line.startsWith(" ")) {
			const before = lines.pop();
			if (before === undefined) throw new Error("the first line begins with a blank");
			lines.push(before + line.slice(1));
		} else lines.push(line);
	}
	return lines.filter((line) => !line.startsWith("#")).map(parseLine);
}

function parseLine(line: string): ConfigLine {
	// One expression for both would look for the end of the line again from each blank.
	const match = /[\0\r\v\f]/.test(line)
		? null
		: /^([A-Za-z][\w-]*(?:;[\w-]+)*):(:?) *(.*)$/s.exec(line);
	const [, name = "", encoded, value = ""] = match ?? [];
	// A value that begins with < is the name of a file.
	if (match === null || (encoded === "" && value.startsWith("<"))) {
		throw new Error(`slapd does not write such a line: ${foreignWords(line, 100)}`);
	}
	if (encoded === "") return { name: name.toLowerCase(), value };
	if (!/^[A-Za-z0-9+/]*={0,2}$/.test(value))
		throw new Error(`not base64: ${foreignWords(line, 100)}`);
	return { name: name.toLowerCase(), value: Buffer.from(value, "base64").toString("utf8") };
}

/** {@link ConfigLine.value} without the number that slapd puts before values that have an order. */
export const withoutOrder = (value: string): string => value.replace(/^\{-?\d+\}/, "");
