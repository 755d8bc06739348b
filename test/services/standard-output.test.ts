import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { test } from "node:test";

const source = join(import.meta.dirname, "../../src/services/standard-output.ts");

function answering(letters: number) {
	const script = `
		import { answer } from ${JSON.stringify(source)};
		await answer("ä".repeat(${letters})).catch((error) => console.error(error.code));
	`;
	return spawn(process.execPath, ["--input-type=module", "-e", script]);
}

test("an answer comes whole, also one that no pipe holds", async () => {
	const child = answering(500_000);
	assert.equal(await text(child.stdout), "ä".repeat(500_000));
});

test("nobody reads the answer: EPIPE", async () => {
	const child = answering(500_000);
	child.stdout.destroy();
	assert.equal(await text(child.stderr), "EPIPE\n");
});

test("an answer comes whole into a pipe that is full and non-blocking", async () => {
	const child = spawn("sh", [
		"-c",
		'{ "$0" --input-type=module -e "$1"; } | { sleep 0.3; wc -c; }',
		process.execPath,
		`process.stdout._handle?.setBlocking?.(false);
		const { answer } = await import(${JSON.stringify(source)});
		await answer("x".repeat(300_000));`,
	]);
	assert.equal((await text(child.stdout)).trim(), "300000");
});
