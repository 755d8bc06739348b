import { Buffer } from "node:buffer";

/**
 * The files in which slapd keeps cn=config: LDIF with one entry each, in directories that follow the
 * tree. Source: OpenLDAP, servers/slapd/back-ldif; RFC 2849.
 */
export type ConfiguredDatabase = {
	/** `{2}` in olcDatabase={2}mdb: what slapcat -n wants */
	readonly number: number;
	/** `mdb`, `hdb`, … */
	readonly backend: string;
	/** where its data lies, as configured: absolute, or relative to slapd's working directory */
	readonly directory: string;
};

/** The database that a file such as `olcDatabase={2}mdb.ldif` configures; undefined without data. */
export function parseDatabase(fileName: string, text: string): ConfiguredDatabase | undefined {
	const match = /^olcDatabase=\{(-?\d+)\}(\w+)\.ldif$/.exec(fileName);
	if (match === null) return undefined;
	for (const line of unfold(text)) {
		const directory = directoryValue(line);
		if (directory === undefined) continue;
		return { number: Number(match[1]), backend: match[2] ?? "", directory };
	}
	return undefined;
}

/** The same file with another data directory, for tools that shall read a copy. */
export function withDirectory(text: string, directory: string): string {
	const lines = unfold(text)
		// The checksum no longer holds; without the line slapd does not compare.
		.filter((line) => !line.startsWith("# CRC32"))
		.map((line) =>
			directoryValue(line) === undefined
				? line
				: `olcDbDirectory:: ${Buffer.from(directory).toString("base64")}`,
		);
	return `${lines.join("\n")}\n`;
}

function directoryValue(line: string): string | undefined {
	const match = /^olcDbDirectory:(:?) *(.*)$/is.exec(line);
	if (match === null) return undefined;
	const [, encoded, value = ""] = match;
	return encoded === ":" ? Buffer.from(value, "base64").toString("utf8") : value;
}

/** A line that begins with a blank continues the one before it (RFC 2849, 2). */
const unfold = (text: string): string[] =>
	text
		.replaceAll(/\r?\n /g, "")
		.split(/\r?\n/)
		.filter((line) => line !== "");
