import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { test } from "node:test";

/**
 * The rooms of docs/architecture.md and what each may import; a room may always import from itself.
 * The files that lie in src/ itself, such as errors.ts, are there for all and need nobody.
 */
const mayImport: Readonly<Record<string, readonly string[]>> = {
	bin: ["programs"],
	programs: ["loops", "services", "formats", "src"],
	loops: ["services", "formats", "src"],
	services: ["formats", "src"],
	formats: ["src"],
	src: [],
};

/** Formats are bytes and decisions: of Node they may use what has no file, process, socket or clock. */
const pureModules = [/^node:(buffer|crypto|util|path|net|assert|url|string_decoder)$/];

const project = resolve(import.meta.dirname, "../..");

test("imports run one way: programs, loops, services, formats", () => {
	assert.deepEqual(wrongWays(imports(project)), []);
});

test("no circle of imports", () => {
	assert.equal(findCircle(imports(project)), undefined);
});

test("formats use nothing that has an effect", () => {
	assert.deepEqual(effectsInFormats(project), []);
});

test("the check of imports finds what is wrong", () => {
	const fixture = join(import.meta.dirname, "wrong-imports");
	assert.deepEqual(wrongWays(imports(fixture)), [
		"src/formats/header.ts imports src/services/files.ts",
		"src/services/files.ts imports test/support.ts",
	]);
	assert.deepEqual(findCircle(imports(fixture)), [
		"src/formats/header.ts",
		"src/services/files.ts",
		"src/formats/header.ts",
	]);
	assert.deepEqual(effectsInFormats(fixture), ["src/formats/header.ts imports node:fs"]);
});

type Graph = ReadonlyMap<string, readonly string[]>;

/** Each source file with the files that it imports, types and lazy imports included. */
function imports(root: string): Graph {
	const files = globSync(["bin/*.ts", "src/**/*.ts"], { cwd: root }).sort();
	return new Map(
		files.map((file) => [
			file,
			importedNames(join(root, file))
				.filter((name) => name.startsWith("."))
				.map((name) => relative(root, resolve(root, dirname(file), name))),
		]),
	);
}

function importedNames(path: string): string[] {
	const text = readFileSync(path, "utf8");
	const name = /["']([^"']+)["']/.source;
	const forms = [
		`^(?:import|export)[^;"'()]*\\sfrom\\s+${name}`,
		`^import\\s+${name}`,
		`\\bimport\\(\\s*${name}`,
	];
	const found = text.matchAll(new RegExp(forms.join("|"), "gm"));
	return [...found].map(([, ...names]) => names.find((each) => each !== undefined) ?? "");
}

/** The room of a file; "" for all that no room may import (tests, bin/dev). */
function room(file: string): string {
	if (/^bin\/[^/]+$/.test(file)) return "bin";
	if (/^src\/[^/]+$/.test(file)) return "src";
	return /^src\/(\w+)\//.exec(file)?.[1] ?? "";
}

function wrongWays(graph: Graph): string[] {
	return [...graph].flatMap(([file, imported]) =>
		imported
			.filter((each) => room(each) !== room(file) && !mayImport[room(file)]?.includes(room(each)))
			.map((each) => `${file} imports ${each}`),
	);
}

function findCircle(graph: Graph): string[] | undefined {
	const clear = new Set<string>();
	const follow = (file: string, path: readonly string[]): string[] | undefined => {
		if (path.includes(file)) return [...path.slice(path.indexOf(file)), file];
		if (clear.has(file)) return undefined;
		for (const each of graph.get(file) ?? []) {
			const circle = follow(each, [...path, file]);
			if (circle) return circle;
		}
		clear.add(file);
		return undefined;
	};
	for (const file of graph.keys()) {
		const circle = follow(file, []);
		if (circle) return circle;
	}
	return undefined;
}

function effectsInFormats(root: string): string[] {
	return globSync("src/formats/**/*.ts", { cwd: root })
		.sort()
		.flatMap((file) =>
			importedNames(join(root, file))
				.filter((name) => !name.startsWith(".") && !pureModules.some((pure) => pure.test(name)))
				.map((name) => `${file} imports ${name}`),
		);
}
