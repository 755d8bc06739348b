import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";

/** A process that has an LMDB environment open. */
export type EnvironmentUser = { readonly pid: number; readonly name: string };

/**
 * Who has one of these environments open: each holds a lock on lock.mdb as long as it has (source:
 * liblmdb, mdb_env_setup_locks), and the kernel tells everybody about locks, also of a slapd whose
 * memory map is hidden because of its file capabilities. A pid file may lie; this does not.
 */
export async function environmentUsers(directories: readonly string[]): Promise<EnvironmentUser[]> {
	const inodes = new Set<number>();
	for (const directory of directories) {
		const lock = await stat(join(directory, "lock.mdb")).catch(() => undefined);
		if (lock !== undefined) inodes.add(lock.ino);
	}
	if (inodes.size === 0) return [];
	const users = new Map<number, EnvironmentUser>();
	for (const line of (await readFile("/proc/locks", "latin1").catch(() => "")).split("\n")) {
		// 1: POSIX  ADVISORY  READ 24131 fe:00:2212177 0 0
		const match = /^\d+:\s+(?:->\s+)?POSIX\s+\S+\s+\S+\s+(\d+)\s+\w+:\w+:(\d+)\s/.exec(line);
		if (match === null || !inodes.has(Number(match[2]))) continue;
		const pid = Number(match[1]);
		const name = (await readFile(`/proc/${pid}/comm`, "utf8").catch(() => "")).trim();
		// Inodes of another file system may have the same number.
		if (/slap|mdb_/.test(name)) users.set(pid, { pid, name });
	}
	return [...users.values()];
}
