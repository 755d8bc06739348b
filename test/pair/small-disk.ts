import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { createInterface, type Interface } from "node:readline";
import type { Host } from "./host.ts";

export const ownNamespace = ["--user", "--map-current-user", "--keep-caps", "--mount"];

/** Whether this machine lets us mount a tmpfs in a namespace of our own; tests skip themselves without. */
export const canMountSmallDisk = (): boolean =>
	spawnSync("unshare", [...ownNamespace, "mount", "-t", "tmpfs", "none", "/mnt"]).status === 0;

/**
 * A small file system over one directory of a host, with what was in it. Only commands that are run
 * on the host afterwards see it (they are started inside its namespace); the test itself looks at
 * {@link path}.
 */
export class SmallDisk implements AsyncDisposable {
	readonly #holder: ChildProcess;
	readonly #lines: Interface;
	readonly #host: Host;
	readonly #directory: string;

	private constructor(host: Host, directory: string, holder: ChildProcess, lines: Interface) {
		this.#host = host;
		this.#directory = directory;
		this.#holder = holder;
		this.#lines = lines;
	}

	/** @param size as tmpfs takes it: `2m` */
	static async mount(host: Host, below: string, size: string): Promise<SmallDisk> {
		const directory = host.path(below);
		// The shell keeps the namespace, and mounts again what it is told to.
		const script = [
			// Of a disk that was mounted here before.
			`rm -rf "${host.directory}/small-disk"`,
			`cp -a "${directory}" "${host.directory}/small-disk"`,
			`mount -t tmpfs -o size=${size},mode=755 none "${directory}"`,
			`cp -a "${host.directory}/small-disk/." "${directory}"`,
			"echo mounted",
			`while read -r options; do mount -o "remount,$options" "${directory}"; echo done $?; done`,
		].join("\n");
		const holder = spawn("unshare", [...ownNamespace, "sh", "-c", script], {
			env: host.environment,
			stdio: ["pipe", "pipe", "inherit"],
		});
		if (holder.stdout === null) throw new Error("no output from unshare");
		const disk = new SmallDisk(host, directory, holder, createInterface({ input: holder.stdout }));
		if ((await disk.#answer()) !== "mounted") throw new Error("no tmpfs could be mounted");
		host.enter(holder.pid ?? 0);
		return disk;
	}

	/** The same directory as the test itself can see it. */
	get path(): string {
		return `/proc/${this.#holder.pid}/root${this.#directory}`;
	}

	resize(size: string): Promise<void> {
		return this.#remount(`size=${size}`);
	}

	readOnly(on: boolean): Promise<void> {
		return this.#remount(on ? "ro" : "rw");
	}

	async [Symbol.asyncDispose](): Promise<void> {
		this.#host.enter(undefined);
		this.#lines.close();
		const ended = new Promise((resolve) => this.#holder.once("exit", resolve));
		this.#holder.kill("SIGKILL");
		await ended;
	}

	async #remount(options: string): Promise<void> {
		this.#holder.stdin?.write(`${options}\n`);
		const answer = await this.#answer();
		if (answer !== "done 0") throw new Error(`remount with ${options}: ${answer}`);
	}

	#answer(): Promise<string> {
		return new Promise((resolve) => {
			this.#lines.once("line", resolve);
			this.#lines.once("close", () => resolve("gone"));
		});
	}
}
