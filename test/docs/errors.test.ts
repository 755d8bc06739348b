import assert from "node:assert/strict";
import { existsSync, globSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";

const project = join(import.meta.dirname, "../..");
const read = (file: string): string => readFileSync(join(project, file), "utf8");

test("docs/errors.md has a section for each code of a refusal, and for nothing else", () => {
	const union = /export type RefusalCode =([\s\S]*?);/.exec(read("src/errors.ts"))?.[1] ?? "";
	const codes = [...union.matchAll(/"([a-z-]+)"/g)].map(([, code = ""]) => code);
	assert.ok(codes.length > 10);
	assert.deepEqual(headingsOf("docs/errors.md", 2), codes);
});

test("each section of docs/errors.md says what happened, what was not changed, and what to do", () => {
	const [, ...sections] = read("docs/errors.md").split(/^## /m);
	for (const section of sections) {
		const labels = [...section.matchAll(/^\*\*(.+?)\*\*/gm)].map(([, label = ""]) => label);
		const expected = ["What happened.", "What was not changed.", "What to do."];
		assert.deepEqual(labels, expected, section.split("\n")[0] ?? "");
	}
});

test("a page that the program names in a hint is there, with the heading it names", () => {
	const named = globSync("src/**/*.ts", { cwd: project }).flatMap((file) =>
		[
			...withoutComments(read(file)).matchAll(
				/\b(docs\/[\w-]+\.md|README\.md)(?:, ([a-z][a-z ]*[a-z]))?/g,
			),
		].map(([, page = "", heading]) => ({ file, page, heading })),
	);
	assert.ok(named.some(({ heading }) => heading !== undefined));
	for (const { file, page, heading } of named) {
		assert.ok(existsSync(join(project, page)), `${file} names ${page}`);
		if (heading === undefined) continue;
		const headings = headingsOf(page).map((each) => each.toLowerCase());
		assert.ok(headings.includes(heading), `${file} names ${page}, ${heading}`);
	}
});

test("what README and docs link to is there, with its heading", () => {
	for (const file of ["README.md", "CHANGELOG.md", ...globSync("docs/*.md", { cwd: project })]) {
		for (const [, target = ""] of read(file).matchAll(/\]\(([^)\s]+)\)/g)) {
			if (/^[a-z]+:/.test(target)) continue;
			const [path = "", anchor] = target.split("#");
			const page = path === "" ? file : join(dirname(file), path);
			assert.ok(existsSync(join(project, page)), `${file} links to ${target}`);
			if (anchor === undefined) continue;
			assert.ok(headingsOf(page).map(anchorOf).includes(anchor), `${file} links to ${target}`);
		}
	}
});

const withoutComments = (source: string): string =>
	source.replaceAll(/^\s*(?:\/\/|\/?\*).*$/gm, "");

/** Headings outside of code; of all levels but the title's, or of one. */
function headingsOf(file: string, level?: number): string[] {
	const text = read(file).replaceAll(/^```[\s\S]*?^```$/gm, "");
	return [...text.matchAll(/^(#{2,6}) (.+)$/gm)].flatMap(([, marks = "", title = ""]) =>
		level === undefined || marks.length === level ? [title] : [],
	);
}

/** As the usual viewers make them. */
const anchorOf = (heading: string): string =>
	heading
		.toLowerCase()
		.replaceAll(/[^\w\- ]/g, "")
		.replaceAll(" ", "-");
