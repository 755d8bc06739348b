/**
 * The notices of what an executable contains: Node with what it is built of, and each npm package that
 * esbuild has put into the program. Their licences ask that the text goes with every copy.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/**
 * @param inputs what esbuild has read, its metafile's names
 * Throws where a package has no text of its licence: then nobody may be given the executable.
 */
export function makeNotices(root: string, inputs: readonly string[]): string {
	const packages = new Set(
		inputs.flatMap((input) => /^(.*\bnode_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(input)?.[1] ?? []),
	);
	const parts = [...packages].toSorted().map((directory) => noticeOf(root, directory));
	const [own, node] = [read(root, "LICENSE"), read(root, nodePackage(root), "LICENSE")];
	const head =
		"live-syncd contains Node.js and the npm packages that are named below. First its own licence, then theirs.\n\n";
	return [head + own, ...parts, heading("Node.js") + node].join("\n");
}

function noticeOf(root: string, directory: string): string {
	const { name, version, license } = JSON.parse(read(root, directory, "package.json"));
	const files = readdirSync(join(root, directory)).filter((file) =>
		/^(?:licen[cs]e|copying|notice)/i.test(file),
	);
	if (files.length === 0) throw new Error(`${directory} has no file with its licence`);
	const texts = files.map((file) => read(root, directory, file));
	return `${heading(`${name} ${version}${license === undefined ? "" : ` (${license})`}`)}${texts.join("\n")}`;
}

const heading = (text: string): string => `${"=".repeat(72)}\n${text}\n${"=".repeat(72)}\n\n`;

function nodePackage(root: string): string {
	const name = readdirSync(join(root, "node_modules")).find((each) =>
		each.startsWith("node-linux-"),
	);
	if (name === undefined) throw new Error("the package of Node is not there: npm install");
	return join("node_modules", name);
}

const read = (...path: string[]): string => readFileSync(join(...path), "utf8");
