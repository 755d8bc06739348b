/**
 * The set-up that runs before `npm test`, `npm run demo` and the other commands: it installs what
 * is missing and says so, and when nothing is missing it is silent and quick.
 *
 *   node bin/dev/setup.mjs              what tests, demo and benchmark need
 *   node bin/dev/setup.mjs --node-only  Node and the npm packages: for type check, lint and build
 *
 * It runs on whatever Node the machine has (18 or later) and before any npm package is there, so
 * it is plain JavaScript without dependencies. The npm packages bring Node 26 itself: npm puts
 * node_modules/.bin first on the PATH of a script, so all that runs after this file is Node 26.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
	accessSync,
	constants,
	copyFileSync,
	existsSync,
	mkdirSync,
	readFileSync,
	renameSync,
	rmSync,
	symlinkSync,
	writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const modules = join(root, "node_modules");
const stampFile = ".set-up.json";
const minutes = 60_000;

/** The official Node 26 is linked with it, and a small Debian or Ubuntu does not have it. */
const nodePackages = [{ debian: "libatomic1", fedora: "libatomic", libraries: ["libatomic.so.1"] }];

/** What tests and demo run, by the package that brings it: Debian's name, Fedora's name. */
const serverPackages = [
	{ debian: "rsync", fedora: "rsync", commands: ["rsync"] },
	{ debian: "openssh-server", fedora: "openssh-server", commands: ["sshd"] },
	{ debian: "openssh-client", fedora: "openssh-clients", commands: ["ssh", "ssh-keygen"] },
	{ debian: "slapd", fedora: "openldap-servers", commands: ["slapd", "slapadd", "slapcat"] },
	{ debian: "ldap-utils", fedora: "openldap-clients", commands: ["ldapadd", "ldapsearch"] },
	{
		debian: "lmdb-utils",
		fedora: "lmdb",
		commands: ["mdb_copy", "mdb_stat", "mdb_dump", "mdb_load"],
	},
	{ debian: "procps", fedora: "procps-ng", commands: ["ps"] },
	{ debian: "util-linux", fedora: "util-linux", commands: ["unshare"] },
];

const systemPackages = process.argv.includes("--node-only")
	? nodePackages
	: [...nodePackages, ...serverPackages];

if (systemNeedsWork() || !npmPackagesAreThere()) {
	takeTurns();
	if (systemNeedsWork()) installSystemPackages();
	if (!npmPackagesAreThere()) installNpmPackages();
}

// ---- one set-up at a time -----------------------------------------------------------------------

/**
 * `npm test` and `npm run check` may be started side by side, and both would install. So the work
 * is done by a second run of this file that holds a lock on the project's directory; where there
 * is no flock(1) it is done right here.
 */
function takeTurns() {
	if (process.env.LIVE_SYNCD_SETUP === "locked" || !findCommand("flock")) return;
	// --close: the lock is flock's own, no process that is started below can keep it
	const { status } = spawnSync(
		"flock",
		["--close", "--timeout", "1500", root, process.execPath, ...process.argv.slice(1)],
		{ stdio: "inherit", env: { ...process.env, LIVE_SYNCD_SETUP: "locked" } },
	);
	process.exit(status ?? 1);
}

// ---- npm packages -------------------------------------------------------------------------------

/** The stamp names the lock file and each package that was installed from it. */
function npmPackagesAreThere() {
	try {
		const stamp = JSON.parse(readFileSync(join(modules, stampFile), "utf8"));
		return (
			stamp.wanted === wantedNpmPackages() &&
			stamp.packages.every((path) => existsSync(join(root, path, "package.json")))
		);
	} catch {
		return false;
	}
}

function wantedNpmPackages() {
	const { dependencies, devDependencies, optionalDependencies } = readJson("package.json");
	return createHash("sha256")
		.update(JSON.stringify([dependencies, devDependencies, optionalDependencies]))
		.update(readFileSync(join(root, "package-lock.json")))
		.update(`${process.platform} ${process.arch}`)
		.digest("hex");
}

/**
 * Installs beside node_modules and puts it in place by a rename: an installation that was cut off
 * must not leave half a Node in node_modules/.bin, since the next npm script would start that one.
 */
function installNpmPackages() {
	say("installing the npm packages of package-lock.json, Node 26 among them");
	const workshop = join(root, "node_modules.new");
	rmSync(workshop, { recursive: true, force: true });
	mkdirSync(workshop);
	for (const file of ["package.json", "package-lock.json", ".npmrc"])
		copyFileSync(join(root, file), join(workshop, file));

	run(
		...npm(),
		[
			"ci",
			// no package here needs its script: esbuild and ssh2 work without, and ssh2's would compile
			"--ignore-scripts",
			// also where the machine is set to production or to fewer packages
			"--include=dev",
			"--include=optional",
			// packages that ask for a newer Node get it: they are started by the Node that comes with them
			"--loglevel=error",
			"--engine-strict=false",
			"--no-audit",
			"--no-fund",
		],
		{ cwd: workshop, timeout: 15 * minutes },
	);

	const fresh = join(workshop, "node_modules");
	// npm 10 leaves this link out: the package of the other architecture, not installed, has it too
	const ownNode = `../node-${process.platform}-${process.arch}/bin/node`;
	const link = join(fresh, ".bin/node");
	if (!existsSync(link) && existsSync(join(fresh, ".bin", ownNode))) symlinkSync(ownNode, link);
	const node = spawnSync("node", ["--version"], {
		encoding: "utf8",
		env: { ...process.env, PATH: `${join(fresh, ".bin")}:${process.env.PATH}` },
	});
	if (!/^v(2[6-9]|[3-9]\d)\./.test(node.stdout))
		fail(
			`no Node 26 that runs on this machine (${process.platform} ${process.arch})`,
			`node --version says: ${node.stdout?.trim()} ${node.stderr?.trim()} ${node.error?.message ?? ""}`,
			"The npm packages bring it for Linux on x64 and arm64; elsewhere install Node 26 first.",
		);

	const packages = Object.keys(readJson("package-lock.json").packages).filter(
		(path) => path !== "" && existsSync(join(workshop, path, "package.json")),
	);
	writeFileSync(join(fresh, stampFile), JSON.stringify({ wanted: wantedNpmPackages(), packages }));
	if (existsSync(modules)) renameSync(modules, join(workshop, "old"));
	renameSync(fresh, modules);
	rmSync(workshop, { recursive: true, force: true });
}

/** The npm that started this script, on the Node that it was started with. */
function npm() {
	const { npm_execpath: cli = "", npm_node_execpath: node = process.execPath } = process.env;
	return cli.endsWith("npm-cli.js") && existsSync(node) ? [node, [cli]] : ["npm", []];
}

// ---- system packages ----------------------------------------------------------------------------

/** Also when an earlier set-up was killed: apt-install.sh then disables what that one could not. */
function systemNeedsWork() {
	const killed = readOrNothing("/usr/sbin/policy-rc.d").includes("\n# live-syncd set-up:");
	return missingSystemPackages().length > 0 || (killed && asRoot() !== undefined);
}

/** Packages of which a file is missing, or which dpkg began to install and did not finish. */
function missingSystemPackages() {
	const dpkg = readOrNothing("/var/lib/dpkg/status");
	return systemPackages.filter((each) => {
		const { debian } = each;
		const state = new RegExp(`^Package: ${debian}\nStatus: \\S+ \\S+ (\\S+)$`, "m").exec(dpkg)?.[1];
		const unfinished = /^(half-installed|unpacked|half-configured|triggers-)/.test(state ?? "");
		return unfinished || missingFiles(each).length > 0;
	});
}

/** How to start a shell script as root without a question, if there is a way. */
function asRoot() {
	if (process.getuid?.() === 0) return ["sh"];
	return succeeds("sudo", ["-n", "true"]) ? ["sudo", "-n", "sh"] : undefined;
}

function missingFiles({ commands = [], libraries = [] }) {
	return [
		...commands.filter((each) => !findCommand(each)),
		...libraries.filter((each) => !findLibrary(each)),
	];
}

function installSystemPackages() {
	const missing = missingSystemPackages();
	const names = missing.map(({ debian }) => debian);
	const script = join(root, "bin/dev/apt-install.sh");
	const shell = asRoot();

	if (!findCommand("apt-get") || !shell) {
		const fedora = missing.map((each) => each.fedora).join(" ");
		fail(
			`missing on this machine, or not fully installed: ${describe(missing)}`,
			"The set-up installs them itself on Debian and Ubuntu, as root or with a sudo that asks for",
			"no password. Here, please run one of",
			`    sudo apt-get install --no-install-recommends ${names.join(" ")}`,
			`    sudo dnf install ${fedora}`,
			"and start the command again. (A daemon that comes with a package is not needed, only its",
			"program: sudo systemctl disable --now slapd ssh, unless you use them.)",
		);
	}

	if (names.length > 0) say(`installing system packages with apt-get: ${names.join(" ")}`);
	run(shell[0], shell.slice(1), [script, ...names], { cwd: root, timeout: 30 * minutes });

	if (missingSystemPackages().length > 0)
		fail(
			`apt-get is done, but still missing: ${describe(missingSystemPackages())}`,
			`Please try: sudo apt-get install --reinstall ${names.join(" ")}`,
		);
}

/** As in "slapd (slapd, slapadd, slapcat), rsync (rsync)". */
function describe(packages) {
	return packages
		.map((each) => `${each.debian} (${missingFiles(each).join(", ") || "unfinished"})`)
		.join(", ");
}

/** Daemons live in sbin, which is not on everybody's PATH. */
function findCommand(name) {
	const folders = `${process.env.PATH}:/usr/local/sbin:/usr/sbin:/sbin`.split(":");
	return folders.some((folder) => {
		try {
			accessSync(join(folder, name), constants.X_OK);
			return true;
		} catch {
			return false;
		}
	});
}

/** Debian's folders have the architecture in their name, Fedora's are lib64. */
function findLibrary(name) {
	const architecture = { x64: "x86_64", arm64: "aarch64" }[process.arch] ?? process.arch;
	const folders = ["lib64", "lib", `lib/${architecture}-linux-gnu`];
	return folders.some(
		(folder) => existsSync(join("/usr", folder, name)) || existsSync(join("/", folder, name)),
	);
}

// ---- helpers ------------------------------------------------------------------------------------

function run(command, first, rest, options) {
	const { status, signal, error } = spawnSync(command, [...first, ...rest], {
		stdio: ["ignore", "inherit", "inherit"],
		...options,
	});
	if (status !== 0)
		fail(`${command} ${rest[0]} failed (${error?.message ?? signal ?? `exit code ${status}`})`);
}

function succeeds(command, args) {
	return spawnSync(command, args, { stdio: "ignore", timeout: 10_000 }).status === 0;
}

function readJson(name) {
	return JSON.parse(readFileSync(join(root, name), "utf8"));
}

function readOrNothing(path) {
	return existsSync(path) ? readFileSync(path, "utf8") : "";
}

function say(text) {
	process.stderr.write(`set-up: ${text}\n`);
}

function fail(...lines) {
	say(lines.join("\n  "));
	process.exit(1);
}
