/**
 * Makes dist/live-syncd and dist/sync-commands: single executables, Node 26 and the program in one
 * file, that need no Node and no npm package on the host (a libatomic.so.1, as the official Node).
 *
 * The bundle is CommonJS, since pino and ssh2 break in an ESM one, and modules that are imported
 * lazily are still evaluated when they are asked for. The code cache spares the compilation at
 * start, a good half of it: `sync-commands` is started anew for every request. Minified it would
 * start no faster, and stack traces would tell nothing.
 */
import { execFileSync } from "node:child_process";
import {
	chmodSync,
	mkdirSync,
	mkdtempSync,
	renameSync,
	rmSync,
	statSync,
	writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "esbuild";

const root = join(import.meta.dirname, "../..");
const workshop = mkdtempSync(join(tmpdir(), "live-syncd-build-"));
try {
	mkdirSync(join(root, "dist"), { recursive: true });
	const node = strippedNode();
	for (const program of ["live-syncd", "sync-commands"]) await makeExecutable(program, node);
} finally {
	rmSync(workshop, { recursive: true, force: true });
}

async function makeExecutable(program: string, node: string): Promise<void> {
	const bundle = join(workshop, `${program}.cjs`);
	const settings = join(workshop, `${program}.json`);
	const executable = join(root, "dist", program);
	const fresh = `${executable}.new`;
	await build({
		entryPoints: [join(root, "bin", `${program}.ts`)],
		outfile: bundle,
		bundle: true,
		platform: "node",
		target: "node26",
		format: "cjs",
		legalComments: "none",
		// ssh2 does without its native parts
		external: ["cpu-features", "*.node"],
		// a real import() does not work together with the code cache: import("node:…") becomes require
		supported: { "dynamic-import": false },
		// CommonJS has no import.meta
		define: {
			"import.meta.url": "__importMetaUrl",
			"import.meta.dirname": "__dirname",
			"import.meta.filename": "__filename",
		},
		banner: { js: "const __importMetaUrl = require('node:url').pathToFileURL(__filename).href;" },
		logLevel: "warning",
	});
	writeFileSync(
		settings,
		JSON.stringify({
			main: bundle,
			executable: node,
			output: fresh,
			useCodeCache: true,
			disableExperimentalSEAWarning: true,
			// NODE_OPTIONS of the machine are not for this program
			execArgvExtension: "none",
		}),
	);
	execFileSync(process.execPath, ["--build-sea", settings], {
		stdio: ["ignore", "ignore", "inherit"],
	});
	chmodSync(fresh, 0o755);
	const version = execFileSync(fresh, ["--version"], { env: {}, encoding: "utf8" }).trim();
	renameSync(fresh, executable); // in one step: the old one may be running, or be started just now
	console.log(`dist/${program} ${version}, ${Math.round(statSync(executable).size / 2 ** 20)} MiB`);
}

/** Without its symbols Node is a fifth smaller; where there is no strip(1) it keeps them. */
function strippedNode(): string {
	const node = join(workshop, "node");
	try {
		execFileSync("strip", ["-o", node, process.execPath], { stdio: "ignore" });
		return node;
	} catch {
		return process.execPath;
	}
}
