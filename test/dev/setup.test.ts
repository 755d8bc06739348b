import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { transformSync } from "esbuild";

const file = join(import.meta.dirname, "../../bin/dev/setup.mjs");

test("the set-up runs on the Node that a machine has, from 18 on, and before any package is there", () => {
	const text = readFileSync(file, "utf8");
	const as = (target: string) =>
		transformSync(text, { loader: "js", format: "esm", target, charset: "utf8" }).code;
	assert.equal(as("node18"), as("esnext"), "syntax that Node 18 has not");
	const imported = [...text.matchAll(/\bfrom "(.+?)"|\bimport\("(.+?)"\)/g)].map(
		([, name]) => name,
	);
	assert.ok(imported.length > 0);
	assert.deepEqual(
		imported.filter((name) => name?.startsWith("node:") !== true),
		[],
	);
	// What came to Node later: import.meta.dirname (20.11), Promise.withResolvers (22), globSync (22).
	assert.doesNotMatch(
		text,
		/import\.meta\.(dirname|filename|main)|withResolvers|globSync|\busing /,
	);
});
