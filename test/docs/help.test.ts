import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { lookUp, typable } from "../../src/formats/manual.ts";
import { readManual } from "../../src/services/manual.ts";

const project = join(import.meta.dirname, "../..");

test("whatever page a hint names, the program can print it on the server", async () => {
	const pages = await readManual();
	let count = 0;
	for (const file of globSync("src/**/*.ts", { cwd: project })) {
		const text = readFileSync(join(project, file), "utf8").replaceAll(
			/^\s*(?:\/\/|\/?\*).*$/gm,
			"",
		);
		for (const [page] of text.matchAll(/\b(?:docs\/[\w-]+|README)\.md(?:, [a-z][a-z ]*[a-z])?/g)) {
			const topic = typable(page, "program").replace("program help ", "");
			assert.ok(lookUp(pages, topic.split(" ")), `${file} names ${page}`);
			count++;
		}
	}
	assert.ok(count > 10);
});
