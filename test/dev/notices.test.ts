import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { build } from "esbuild";
import { makeNotices } from "../../bin/dev/notices.ts";

const root = join(import.meta.dirname, "../..");

test("an executable carries the licence of Node and of each package that is in it, and of no other", async () => {
	const { metafile } = await build({
		absWorkingDir: root,
		entryPoints: ["bin/live-syncd.ts"],
		...{ bundle: true, write: false, metafile: true, outdir: "out", logLevel: "silent" },
		...{ platform: "node", target: "node26", format: "esm", splitting: true },
		external: ["cpu-features", "*.node"],
	});
	const notices = makeNotices(root, Object.keys(metafile.inputs));
	const named = [...notices.matchAll(/^={72}\n(\S+).*\n={72}$/gm)].map(([, name]) => name);
	for (const name of ["commander", "execa", "pino", "ssh2", "tweetnacl", "Node.js"]) {
		assert.ok(named.includes(name), name);
	}
	for (const name of ["esbuild", "typescript", "fast-check"])
		assert.ok(!named.includes(name), name);
	assert.match(notices, /GNU GENERAL PUBLIC LICENSE/);
	assert.match(notices, /OpenSSL/, "Node's licence names what Node is built of");
});

test("without the text of a licence no executable is made", () => {
	const input = "test/fixtures/node_modules/nameless/index.js";
	assert.throws(() => makeNotices(root, [input]));
});
