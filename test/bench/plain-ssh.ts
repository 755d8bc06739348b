import { type ChildProcess, spawn } from "node:child_process";
import { appendFileSync, closeSync, openSync } from "node:fs";
import { join } from "node:path";
import type { Pair } from "../pair/pair.ts";
import { makeKey } from "../pair/sshd.ts";

/** What there is without live-syncd: ssh with a key that may run any command, through the same sshd. */
export class PlainSsh {
	readonly #words: readonly string[];

	private constructor(words: readonly string[]) {
		this.#words = words;
	}

	/** Makes such a key on the mirror and lets the live server accept it. */
	static make({ a, b, directory }: Pair): PlainSsh {
		const key = join(directory, "plain-key");
		const publicKey = makeKey(key, "plain");
		appendFileSync(a.path(".ssh/authorized_keys"), `restrict ${publicKey} plain\n`);
		return new PlainSsh([
			...["-F", "none", "-i", key, "-p", String(a.sshd.port)],
			...["-o", `UserKnownHostsFile=${b.path("live_sync/known_hosts")}`],
			...["-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", `${a.user}@${a.address}`],
		]);
	}

	/** Runs a command on the live server, its output into a file here. */
	into(file: string, command: string): ChildProcess {
		const output = openSync(file, "w");
		const child = spawn("ssh", [...this.#words, command], { stdio: ["pipe", output, "inherit"] });
		closeSync(output);
		return child;
	}
}
