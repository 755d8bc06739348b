import assert from "node:assert/strict";
import { existsSync, globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

const project = join(import.meta.dirname, "../..");

test("docs/testing.md names each test file, and none that is not there", () => {
	const there = globSync("**/*.test.ts", { cwd: join(project, "test") }).sort();
	assert.ok(there.length > 50);
	const page = readFileSync(join(project, "docs/testing.md"), "utf8");
	const named = [...page.matchAll(/`([\w/-]+\.test\.ts)`/g)].map(([, name = ""]) => name);
	assert.deepEqual(
		there.filter((file) => !named.includes(file)),
		[],
		"not named",
	);
	// In a row of the failure table a second file of the same folder may stand without it.
	const exists = (name: string) => there.some((file) => file === name || file.endsWith(`/${name}`));
	assert.deepEqual(
		named.filter((name) => !exists(name)),
		[],
		"not there",
	);
});

test("docs/reliability.md names tests that are there", () => {
	const page = readFileSync(join(project, "docs/reliability.md"), "utf8");
	const named = [...page.matchAll(/`([\w/-]+\.test\.ts)`/g)].map(([, file = ""]) => file);
	assert.ok(named.length > 40);
	for (const file of named) assert.ok(existsSync(join(project, "test", file)), file);
});
