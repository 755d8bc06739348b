import assert from "node:assert/strict";
import {
	chmodSync,
	copyFileSync,
	existsSync,
	mkdirSync,
	mkdtempSync,
	rmSync,
	symlinkSync,
	writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { runToEnd } from "../pair/run.ts";

const project = join(import.meta.dirname, "../..");
const long = "x".repeat(200);

/** Programs as they are installed, in a directory of their own; without dist/ the script takes the executable's place. */
function installed(t: TestContext, from: "dist" | "source"): string {
	const directory = mkdtempSync(join(tmpdir(), "installed-"));
	t.after(() => rmSync(directory, { recursive: true }));
	for (const name of ["live-syncd", "sync-commands"]) {
		const executable = join(directory, `${name}.bin`);
		copyFileSync(join(project, "bin/launcher.sh"), join(directory, name));
		if (from === "dist") {
			copyFileSync(join(project, "dist", `${name}.bin`), executable);
			continue;
		}
		const script = join(project, "bin", `${name}.ts`);
		writeFileSync(executable, `#!/bin/sh\nexec "${process.execPath}" "${script}" "$@"\n`);
		chmodSync(executable, 0o755);
	}
	symlinkSync("sync-commands", join(directory, "sync_commands"));
	return directory;
}

const hasDist = existsSync(join(project, "dist/live-syncd.bin"));

for (const from of ["source", "dist"] as const) {
	const options = { skip: from === "dist" && !hasDist && "npm run build has not been run" };
	test(
		`words in LC_ALL, LANG and LC_MESSAGES that are no locale keep neither program from its work (${from})`,
		options,
		async (t) => {
			const directory = installed(t, from);
			for (const name of ["live-syncd", "sync-commands", "sync_commands"]) {
				for (const variable of ["LC_ALL", "LANG", "LC_MESSAGES"]) {
					const env = { PATH: process.env.PATH, [variable]: long };
					const { code, stdout } = await runToEnd(join(directory, name), ["--version"], { env });
					assert.equal(code, 0, `${name} with ${variable}`);
					assert.match(stdout, /2\.\d/);
				}
			}
		},
	);
}

test("started by its name alone, the program takes the live_sync.conf beside it, not that of the current directory", {
	skip: !hasDist && "npm run build has not been run",
}, async (t) => {
	const directory = installed(t, "dist");
	const elsewhere = join(directory, "elsewhere");
	mkdirSync(elsewhere);
	writeFileSync(join(directory, "live_sync.conf"), "here=1\n", { mode: 0o644 });
	writeFileSync(join(elsewhere, "live_sync.conf"), "elsewhere=1\n", { mode: 0o644 });
	for (const name of ["live-syncd", "live-syncd.bin"]) {
		const env = { PATH: `${directory}:${process.env.PATH}` };
		const words = ["-c", `exec ${name} status`];
		const { stderr } = await runToEnd("sh", words, { env, cwd: elsewhere });
		assert.match(stderr, /live_sync\.conf:1: unknown setting here/, name);
	}
});

test("a link to the launcher from a directory of PATH leads to the program", async (t) => {
	const directory = installed(t, "source");
	const link = join(directory, "link");
	mkdirSync(link);
	symlinkSync(join(directory, "live-syncd"), join(link, "live-syncd"));
	const env = { PATH: `${link}:${process.env.PATH}` };
	const { code, stderr } = await runToEnd("sh", ["-c", "exec live-syncd start 'two words'"], {
		env,
	});
	assert.equal(code, 2, stderr);
});
