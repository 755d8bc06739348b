import { isAddress } from "../address.ts";
import {
	type Setting,
	type SettingName,
	type Settings,
	type SettingType,
	settingsTable,
} from "./table.ts";

/** What is wrong with one line of the file, or with the file as a whole (line 0). */
export type SettingProblem = { readonly line: number; readonly message: string };

export type ParsedSettings =
	| { readonly settings: Settings; readonly problems?: never }
	| { readonly settings?: never; readonly problems: readonly SettingProblem[] };

/** Values that other settings may name in braces. */
export type Places = { readonly base_dir: string };

/**
 * Reads the text of live_sync.conf: lines of `name="value"`, blank lines and comments, a form that
 * bash can source too. Gives every setting, or every problem at once.
 */
export function parseSettings(text: string, places: Places): ParsedSettings {
	const problems: SettingProblem[] = [];
	const given = new Map<SettingName, { value: string; line: number }>();
	for (const [index, raw] of text.split("\n").entries()) {
		const line = index + 1;
		const parsed = parseLine(raw.replace(/\r$/, ""));
		if (parsed === undefined) continue;
		if ("message" in parsed) {
			problems.push({ line, message: parsed.message });
		} else if (!isSettingName(parsed.name)) {
			problems.push({ line, message: unknownName(parsed.name) });
		} else if (given.has(parsed.name)) {
			const first = given.get(parsed.name)?.line;
			problems.push({ line, message: `${parsed.name} stands in line ${first} already` });
		} else {
			given.set(parsed.name, { value: parsed.value, line });
		}
	}

	const values: Record<string, unknown> = {};
	const home = given.get("zimbra_home")?.value ?? settingsTable.zimbra_home.default;
	const fill = (value: string) =>
		value.replaceAll("{zimbra_home}", home).replaceAll("{base_dir}", places.base_dir);
	for (const name of settingNames) {
		const setting: Setting = settingsTable[name];
		const at = given.get(name);
		const source = at?.value ?? setting.default;
		if (source === undefined) {
			problems.push({ line: 0, message: `${name} is missing: ${wanted(setting)}` });
			continue;
		}
		const value = convert(setting, fill(source));
		if (value === undefined) {
			const message = `${name}="${source}" will not do: ${wanted(setting)}`;
			problems.push({ line: at?.line ?? 0, message });
		}
		values[name] = value;
	}
	const servers = [values.server1, values.server2];
	if (servers[0] !== undefined && servers[0] === servers[1]) {
		const line = given.get("server2")?.line ?? 0;
		problems.push({ line, message: "server1 and server2 are the same address" });
	}
	if (problems.length > 0) return { problems: problems.toSorted((a, b) => a.line - b.line) };
	return { settings: values as Settings };
}

export const settingNames = Object.keys(settingsTable) as readonly SettingName[];

const isSettingName = (name: string): name is SettingName => Object.hasOwn(settingsTable, name);

type Line = { name: string; value: string } | { message: string } | undefined;

function parseLine(line: string): Line {
	const text = line.trim();
	if (text === "" || text.startsWith("#")) return undefined;
	const match =
		/^([A-Za-z_][A-Za-z0-9_]*)=(?:"([^"]*)"|'([^']*)'|([^\s"'#;&|<>()]*))\s*(?:#.*)?$/.exec(text);
	if (match === null) return { message: `not of the form name="value": ${text}` };
	const [, name = "", inDouble, inSingle, bare] = match;
	const value = inDouble ?? inSingle ?? bare ?? "";
	if (inSingle === undefined && /[$`\\]/.test(value)) {
		return { message: `${name}: $, \` and \\ are not expanded here; write the value itself` };
	}
	return { name, value };
}

function unknownName(name: string): string {
	const near = settingNames.filter((known) => distance(known, name.toLowerCase()) <= 2);
	const hint = near.length > 0 ? `; did you mean ${near.join(" or ")}?` : "; see docs/settings.md";
	return `unknown setting ${name}${hint}`;
}

/** Edits (insert, delete, replace) from one word to the other. */
function distance(a: string, b: string): number {
	let row = Array.from({ length: b.length + 1 }, (_, i) => i);
	for (let i = 1; i <= a.length; i++) {
		const next = [i];
		for (let j = 1; j <= b.length; j++) {
			const replace = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
			next.push(Math.min(replace, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
		}
		row = next;
	}
	return row[b.length] ?? 0;
}

const durationUnits: Record<string, number> = { ms: 1, s: 1e3, m: 60e3, h: 3600e3, d: 86400e3 };
const sizeUnits: Record<string, number> = { "": 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 };

const converters: Record<SettingType, (value: string, setting: Setting) => unknown> = {
	// A zone names an interface, and keeps its capitals.
	address: (value) =>
		isAddress(value) ? value.replace(/^[^%]*/, (bare) => bare.toLowerCase()) : undefined,
	choice: (value, { choices = [] }) => (choices.includes(value) ? value : undefined),
	command: (value) => splitCommand(value),
	directory: (value) => (value.startsWith("/") ? value.replace(/(?<=.)\/+$/, "") : undefined),
	path: (value) => (value.startsWith("/") && !value.endsWith("/") ? value : undefined),
	text: (value) => (value === "" ? undefined : value),
	flag: (value) => ({ yes: true, no: false })[value],
	list: (value) => (value === "" ? undefined : value.split(":")),
	number: (value, setting) =>
		inRange(/^\d{1,15}$/.test(value) ? Number(value) : undefined, setting),
	duration(value, setting) {
		const match = /^(\d{1,12}(?:\.\d{1,3})?)(ms|s|m|h|d)$/.exec(value);
		if (match === null) return undefined;
		const ms = Number(match[1]) * (durationUnits[match[2] ?? ""] ?? Number.NaN);
		return inRange(ms / 1000, setting) === undefined ? undefined : ms;
	},
	size(value, setting) {
		const match = /^(\d{1,12})([KMGT]?)$/.exec(value);
		if (match === null) return undefined;
		return inRange(Number(match[1]) * (sizeUnits[match[2] ?? ""] ?? Number.NaN), setting);
	},
};

const convert = (setting: Setting, value: string): unknown =>
	converters[setting.type](value, setting);

function inRange(value: number | undefined, { range }: Setting): number | undefined {
	if (value === undefined || range === undefined) return value;
	return value >= range[0] && value <= range[1] ? value : undefined;
}

/** Words parted by blanks; single quotes hold one together. Undefined for no word or an open quote. */
function splitCommand(text: string): string[] | undefined {
	const quotes = text.split("'").length - 1;
	const words = text.match(/(?:[^\s']|'[^']*')+/g) ?? [];
	if (words.length === 0 || quotes % 2 === 1) return undefined;
	return words.map((word) => word.replaceAll("'", ""));
}

/** What would be right, in words. */
function wanted(setting: Setting): string {
	const range =
		setting.range === undefined ? "" : ` from ${setting.range[0]} to ${setting.range[1]}`;
	switch (setting.type) {
		case "address":
			return "an IPv4 or IPv6 address";
		case "choice":
			return `one of ${(setting.choices ?? []).join(", ")}`;
		case "command":
			return "a command and its words, parted by blanks";
		case "directory":
		case "path":
			return "an absolute path";
		case "text":
			return "any text";
		case "flag":
			return "yes or no";
		case "list":
			return "directories parted by colons";
		case "number":
			return `a whole number${range}`;
		case "duration":
			return `a time such as 500ms, 10s, 5m, 2h or 1d${range === "" ? "" : `,${range} seconds`}`;
		case "size":
			return "a number of bytes such as 500M or 2G";
	}
}
