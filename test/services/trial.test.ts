import assert from "node:assert/strict";
import {
	existsSync,
	mkdirSync,
	mkdtempSync,
	readdirSync,
	rmSync,
	statSync,
	symlinkSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { tryDirectory } from "../../src/services/trial.ts";

test("a directory in which files can be written and renamed passes, and nothing stays in it", async () => {
	const at = mkdtempSync(join(tmpdir(), "trial-"));
	await tryDirectory(join(at, "redolog"), join(at, "redolog/archive"));
	assert.deepEqual(
		new Set(readdirSync(at, { recursive: true, encoding: "utf8" })),
		new Set(["redolog", "redolog/archive"]),
	);
	rmSync(at, { recursive: true });
});

test("where the kernel refuses a file the directory is named, with what to do", async () => {
	// Not even root may make files there.
	await assert.rejects(tryDirectory("/proc/self/task"), (error: Error & { hint?: string }) => {
		assert.match(`${error.message}`, /^\/proc\/self\/task cannot be written/);
		assert.match(error.hint ?? "", /chown [^-]|is no directory/);
		return true;
	});
});

test("a link that leads to another file system, or nowhere, is found", async (t) => {
	const at = mkdtempSync(join(tmpdir(), "trial-"));
	mkdirSync(join(at, "redolog"));
	const archive = join(at, "redolog/archive");
	symlinkSync(join(at, "nowhere/at/all"), archive);
	await assert.rejects(tryDirectory(join(at, "redolog"), archive), { code: "not-writable" });
	rmSync(archive);
	if (!existsSync("/dev/shm") || statSync("/dev/shm").dev === statSync(at).dev) {
		return t.skip("there is only one file system");
	}
	const other = mkdtempSync("/dev/shm/trial-");
	symlinkSync(other, archive);
	await assert.rejects(tryDirectory(join(at, "redolog"), archive), { code: "two-file-systems" });
	assert.deepEqual([...readdirSync(join(at, "redolog")), ...readdirSync(other)], ["archive"]);
	for (const each of [at, other]) rmSync(each, { recursive: true });
});
