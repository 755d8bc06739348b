/**
 * Makes dist/live-syncd and dist/sync-commands: single executables, Node 26 and the program in one
 * file, that need no Node and no npm package on the host (a libatomic.so.1, as the official Node).
 * The script that makes the initial copy goes along.
 * How the program is laid out in there, so that it starts quickly: bundle.ts.
 */
import { execFileSync } from "node:child_process";
import {
	chmodSync,
	copyFileSync,
	mkdirSync,
	mkdtempSync,
	readFileSync,
	renameSync,
	rmSync,
	statSync,
	writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { manualFile, manualPages, noticesAsset } from "../../src/services/manual.ts";
import { bundle } from "./bundle.ts";
import { makeNotices } from "./notices.ts";

const root = join(import.meta.dirname, "../..");
/** What cron and each connection ask for: it is to start as soon as Node itself. */
const quickOnes = {
	"live-syncd": ["src/programs/live-syncd/status.ts"],
	"sync-commands": ["src/programs/sync-commands/hello.ts", "src/programs/sync-commands/test.ts"],
};
const localeVariables = ["LC_ALL", "LC_MESSAGES", "LANG"];
/** What `live-syncd help` prints. */
const manual = Object.fromEntries(
	manualPages.map((page) => [manualFile(page), join(root, manualFile(page))]),
);
const workshop = mkdtempSync(join(tmpdir(), "live-syncd-build-"));
try {
	mkdirSync(join(root, "dist"), { recursive: true });
	copyFileSync(join(root, "bin/initial-copy"), join(root, "dist/initial-copy"));
	const node = withoutLocale(strippedNode());
	for (const [program, quick] of Object.entries(quickOnes)) {
		await makeExecutable(program, quick, node);
	}
} finally {
	rmSync(workshop, { recursive: true, force: true });
}

async function makeExecutable(program: string, quick: readonly string[], node: string) {
	const settings = join(workshop, `${program}.json`);
	const executable = join(root, "dist", program);
	const fresh = `${executable}.new`;
	const { inputs, main, assets } = await bundle(root, join("bin", `${program}.ts`), quick);
	const notices = makeNotices(root, inputs);
	writeFileSync(join(root, "dist", `${program}.${noticesAsset}`), notices);
	const write = (name: string, content: string | Buffer): string => {
		const file = join(workshop, `${program}-${name}`);
		writeFileSync(file, content);
		return file;
	};
	writeFileSync(
		settings,
		JSON.stringify({
			main: write("main.cjs", main),
			assets: {
				...Object.fromEntries(
					Object.entries(assets).map(([name, content]) => [name, write(name, content)]),
				),
				[noticesAsset]: write(noticesAsset, notices),
				...(program === "live-syncd" ? manual : {}),
			},
			executable: node,
			output: fresh,
			disableExperimentalSEAWarning: true,
			// NODE_OPTIONS of the machine are not for this program
			execArgvExtension: "none",
		}),
	);
	execFileSync(process.execPath, ["--build-sea", settings], {
		stdio: ["ignore", "ignore", "inherit"],
	});
	chmodSync(fresh, 0o755);
	// In the surroundings in which Node alone dies.
	const env = Object.fromEntries(localeVariables.map((name) => [name, "x".repeat(200)]));
	const version = execFileSync(fresh, ["--version"], { env, encoding: "utf8" }).trim();
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

/**
 * Node 26 dies at its start, before a line of JavaScript, where one of these holds a long word that is
 * no locale (SIGSEGV in icu::Locale::init), and sshd takes them from its client (AcceptEnv LANG LC_*).
 * Nothing here depends on the locale, so the ICU in the executable looks for it under names that nobody
 * sets. glibc has names of its own.
 */
function withoutLocale(node: string): string {
	const deaf = join(workshop, "node-without-locale");
	let bytes = readFileSync(node).toString("latin1");
	for (const name of localeVariables) {
		bytes = bytes.replaceAll(`${name}\0`, `${name.toLowerCase()}\0`);
	}
	writeFileSync(deaf, bytes, { encoding: "latin1", mode: 0o755 });
	return deaf;
}
