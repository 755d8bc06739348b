/**
 * The table of docs/settings.md, made from the table of settings in the code.
 *
 *     node bin/dev/settings-reference.ts    writes it anew, between its two marks
 *
 * A test compares the two, so that the reference cannot fall behind.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { settingNames } from "../../src/formats/settings/parse.ts";
import { type Setting, settingsTable } from "../../src/formats/settings/table.ts";

export const referenceFile = join(import.meta.dirname, "../../docs/settings.md");

const begin = "<!-- made by bin/dev/settings-reference.ts -->";
const end = "<!-- end of what is made -->";

/** One line for each setting: name, type with its limits, default, help. */
function settingsReference(): string {
	const rows = settingNames.map((name) => {
		const setting: Setting = settingsTable[name];
		const given = setting.default === undefined ? "none, must be given" : `\`${setting.default}\``;
		return [`\`${name}\``, describeType(setting), given, setting.help];
	});
	const lines = [
		["setting", "type", "default", "what it is"],
		["---", "---", "---", "---"],
		...rows,
	];
	return lines.map((cells) => `| ${cells.map(escapeCell).join(" | ")} |\n`).join("");
}

/** The text with everything between its marks made anew. Throws where a mark is missing. */
export function withReference(text: string): string {
	const from = text.indexOf(begin);
	const to = text.indexOf(end);
	if (from < 0 || to < from) throw new Error(`the marks are lost: ${begin} and ${end}`);
	return `${text.slice(0, from)}${begin}\n\n${settingsReference()}\n${text.slice(to)}`;
}

function describeType({ type, choices, range }: Setting): string {
	if (choices !== undefined) return `${type}: ${choices.join(", ")}`;
	if (range === undefined) return type;
	const unit = type === "duration" ? " s" : type === "size" ? " bytes" : "";
	return `${type}, ${range[0]} to ${range[1]}${unit}`;
}

const escapeCell = (text: string): string => text.replaceAll("|", "\\|");

if (import.meta.main) {
	writeFileSync(referenceFile, withReference(readFileSync(referenceFile, "utf8")));
}
