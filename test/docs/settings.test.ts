import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { referenceFile, withReference } from "../../bin/dev/settings-reference.ts";
import { parseSettings } from "../../src/formats/settings/parse.ts";

const project = join(import.meta.dirname, "../..");

test("docs/settings.md has every setting as the code has it: name, type, default, help", () => {
	const text = readFileSync(referenceFile, "utf8");
	assert.equal(text, withReference(text), "to mend it: node bin/dev/settings-reference.ts");
});

test("every sample of live_sync.conf in README and docs is one that the program takes", () => {
	const samples = globSync(["README.md", "docs/*.md"], { cwd: project }).flatMap((file) =>
		samplesIn(file).map((text) => ({ file, text })),
	);
	assert.ok(samples.length >= 2, "samples are blocks that begin with ```conf");
	for (const { file, text } of samples) {
		const { problems } = parseSettings(text, { base_dir: "/opt/zimbra/live_sync" });
		assert.deepEqual(problems, undefined, `${file}:\n${text}`);
	}
});

function samplesIn(file: string): string[] {
	const text = readFileSync(join(project, file), "utf8");
	return [...text.matchAll(/^```conf\n([\s\S]*?)^```$/gm)].map(([, sample = ""]) => sample);
}
