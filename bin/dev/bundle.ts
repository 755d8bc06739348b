/**
 * Lays out a program as two scripts: `quick` has what the short commands need, `rest` everything
 * else, ssh, log and the parser of options among it, and is read only when something of it is asked
 * for. To read one script of 2 MB took as long as a third of Node's own start.
 *
 * esbuild splits the program where it imports lazily. Each part becomes a CommonJS module, since pino
 * and ssh2 break in an ESM one. Minified it would start no faster, and stack traces would tell nothing.
 */
import { basename, join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { Script } from "node:vm";
import { build, type Metafile, transform } from "esbuild";

/**
 * @param entry the program
 * @param quick sources that it imports lazily, and that belong into `quick` all the same
 * @returns a small script that loads the others, and these with what V8 has made of them; and the names
 * of all files that went into it
 */
export async function bundle(root: string, entry: string, quick: readonly string[]) {
	const { outputFiles, metafile } = await build({
		absWorkingDir: root,
		entryPoints: [entry],
		outdir: "out",
		write: false,
		metafile: true,
		bundle: true,
		splitting: true,
		platform: "node",
		target: "node26",
		format: "esm",
		legalComments: "none",
		// ssh2 does without its native parts
		external: ["cpu-features", "*.node"],
		// CommonJS has no import.meta
		define: {
			"import.meta.url": "importMetaUrl",
			"import.meta.dirname": "__dirname",
			"import.meta.filename": "__filename",
		},
		logLevel: "warning",
	});
	const { outputs } = metafile;
	const first = outputOf(outputs, entry);
	const isQuick = reachable(outputs, [first, ...quick.map((source) => outputOf(outputs, source))]);
	const modules = { quick: "", rest: "" };
	for (const { path, text } of outputFiles) {
		const name = basename(path);
		const { code } = await transform(text.replace(/^#!.*/, ""), {
			format: "cjs",
			platform: "node",
			target: "node26",
			// a real import() does not work together with a code cache
			supported: { "dynamic-import": false },
		});
		const script = isQuick.has(join("out", name)) ? "quick" : "rest";
		// In parentheses, so that V8 compiles it together with the script.
		modules[script] += `"./${name}": (function (module, exports, require) {\n${code}}),\n`;
	}
	const scripts = { quick: quickScript(modules.quick), rest: restScript(modules.rest) };
	return {
		inputs: Object.keys(metafile.inputs),
		main: mainScript(`./${basename(first)}`),
		assets: {
			"quick.cjs": scripts.quick,
			"quick.cache": codeCache(scripts.quick, "quick.cjs", "all"),
			"rest.cjs": scripts.rest,
			"rest.cache": codeCache(scripts.rest, "rest.cjs", "modules"),
		},
	};
}

const mainScript = (first: string) => `
const { getAsset, getRawAsset } = require("node:sea");
const { Script } = require("node:vm");
const modules = {};
const loaded = {};
function load(name) {
	if (!name.startsWith("./")) return require(name);
	if (!(name in modules)) add("rest");
	if (!(name in loaded)) {
		loaded[name] = { exports: {} };
		modules[name](loaded[name], loaded[name].exports, load);
	}
	return loaded[name].exports;
}
function add(name) {
	const cachedData = new Uint8Array(getRawAsset(name + ".cache"));
	const script = new Script(getAsset(name + ".cjs", "utf8"), { filename: name + ".cjs", cachedData });
	Object.assign(modules, script.runInThisContext()(require, __filename, __dirname));
}
add("quick");
load("${first}");
`;

const quickScript = (modules: string) => `(function () {
return {
${modules}};
})
`;

const restScript = (modules: string) => `(function (require, __filename, __dirname) {
const importMetaUrl = require("node:url").pathToFileURL(__filename).href;
return {
${modules}};
})
`;

/**
 * What V8 makes of a script, to be kept beside it.
 * @param which all functions, or only those that are needed first; the others are compiled when they
 * are called. All of a large script take longer to read than they spare.
 */
function codeCache(script: string, filename: string, which: "all" | "modules"): Buffer {
	if (which === "modules") return new Script(script, { filename }).createCachedData();
	setFlagsFromString("--no-lazy");
	const compiled = new Script(script, { filename });
	// The cache is only taken where the flags are the same.
	setFlagsFromString("--lazy");
	return compiled.createCachedData();
}

function outputOf(outputs: Metafile["outputs"], source: string): string {
	const found = Object.entries(outputs).find(([, { entryPoint }]) => entryPoint === source);
	if (found === undefined) throw new Error(`${source} is no entry point, nor imported lazily`);
	return found[0];
}

/** These outputs and all that they import at once. */
function reachable(outputs: Metafile["outputs"], from: readonly string[]): Set<string> {
	const found = new Set(from);
	for (const path of found) {
		for (const { kind, path: next } of outputs[path]?.imports ?? []) {
			if (kind === "import-statement" && next in outputs) found.add(next);
		}
	}
	return found;
}
