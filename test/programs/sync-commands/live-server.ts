import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { chmod, cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";

const project = join(import.meta.dirname, "../../..");
const samples = join(project, "test/fixtures/redolog-samples/main");

// What others can write is refused, and the umask of a developer may allow it.
process.umask(0o022);

export type Answer = { readonly code: number; readonly stdout: string; readonly stderr: string };

/** A live server's directories with real redo logs, and `sync-commands` to ask, without ssh. */
export class LiveServer implements AsyncDisposable {
	readonly directory: string;
	readonly home: string;
	readonly base: string;
	readonly #running = new Set<ChildProcessWithoutNullStreams>();

	private constructor(directory: string) {
		this.directory = directory;
		this.home = join(directory, "zimbra");
		this.base = join(this.home, "live_sync");
	}

	static async make(settings: Readonly<Record<string, string>> = {}): Promise<LiveServer> {
		const server = new LiveServer(await mkdtemp(join(tmpdir(), "sync-commands-")));
		const directories = ["redolog/archive", "live_sync", "bin", "libexec", "log", "conf"];
		for (const each of [...directories, "data/ldap/config/cn=config"]) {
			await mkdir(join(server.home, each), { recursive: true });
		}
		await writeFile(
			join(server.home, "data/ldap/config/cn=config/olcDatabase={2}mdb.ldif"),
			"dn: olcDatabase={2}mdb\nolcDatabase: {2}mdb\nolcDbDirectory: data/ldap/mdb/db\n",
		);
		await cp(samples, join(server.home, "redolog"), {
			recursive: true,
			preserveTimestamps: true,
			filter: (path) => !/\.(json|tsv)$/.test(path),
		});
		// With Zimbra's launcher there, pid files and processes tell whether mailboxd runs.
		await writeFile(join(server.home, "libexec/zmmailboxdmgr"), "");
		await server.script("zmcontrol", 'echo "Release 8.8.15.GA.3869.UBUNTU18.64 FOSS edition."');
		const values = {
			server1: "127.0.0.1",
			server2: "127.0.0.2",
			local: "server1",
			zimbra_home: server.home,
			user: userInfo().username,
			...settings,
		};
		const lines = Object.entries(values).map(([name, value]) => `${name}="${value}"\n`);
		await writeFile(join(server.base, "live_sync.conf"), lines.join(""));
		return server;
	}

	path(...below: string[]): string {
		return join(this.home, ...below);
	}

	/** Puts a shell script in place of one of Zimbra's commands. */
	async script(name: string, body: string): Promise<void> {
		await writeFile(this.path("bin", name), `#!/bin/sh\n${body}\n`);
		await chmod(this.path("bin", name), 0o755);
	}

	/**
	 * Starts the program as sshd would, with what the client asked for in SSH_ORIGINAL_COMMAND.
	 * @param prefix words in front of it, such as those of unshare
	 * @param more variables of its environment
	 */
	start(
		asked?: string,
		words: readonly string[] = [],
		{
			prefix = [],
			more = {},
		}: { prefix?: readonly string[]; more?: Readonly<Record<string, string>> } = {},
	): ChildProcessWithoutNullStreams {
		const { NODE_TEST_CONTEXT: _, SSH_ORIGINAL_COMMAND: __, ...environment } = process.env;
		const config = ["--config", join(this.base, "live_sync.conf")];
		const program = [process.execPath, join(project, "bin/sync-commands.ts"), ...config];
		const [command = "", ...rest] = [...prefix, ...program, ...words];
		const child = spawn(command, rest, {
			env: {
				...environment,
				...more,
				...(asked === undefined ? {} : { SSH_ORIGINAL_COMMAND: asked }),
			},
			stdio: "pipe",
		});
		child.stdin.on("error", () => undefined); // it need not read what we say
		this.#running.add(child);
		child.once("exit", () => this.#running.delete(child));
		return child;
	}

	/** The same, to its end. */
	async ask(
		asked: string | undefined,
		{ input = "", words = [] as readonly string[] } = {},
	): Promise<Answer> {
		const child = this.start(asked, words);
		child.stdin.end(input);
		return await ending(child);
	}

	/** log/sync_commands.log, one string for each line. */
	async served(): Promise<string[]> {
		const text = await readFile(join(this.base, "log/sync_commands.log"), "utf8").catch(() => "");
		return text.split("\n").filter((line) => line !== "");
	}

	async [Symbol.asyncDispose](): Promise<void> {
		for (const child of this.#running) child.kill("SIGKILL");
		await rm(this.directory, { recursive: true, force: true, maxRetries: 5 });
	}
}

export function ending(child: ChildProcessWithoutNullStreams): Promise<Answer> {
	let stdout = "";
	let stderr = "";
	child.stdout.setEncoding("utf8").on("data", (text: string) => {
		stdout += text;
	});
	child.stderr.setEncoding("utf8").on("data", (text: string) => {
		stderr += text;
	});
	return new Promise((resolve) => {
		child.once("close", (code) => resolve({ code: code ?? -1, stdout, stderr }));
	});
}
