import { open, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import {
	deviceOfMount,
	deviceOfStat,
	type FileName,
	lockHolders,
} from "../../formats/proc-locks.ts";
import { userOf } from "../process-table.ts";

/** A process that has an LMDB environment open. */
export type EnvironmentUser = {
	readonly pid: number;
	readonly name: string;
	/** it is slapd, or may be: its name is hidden from us; else a tool that reads */
	readonly serves: boolean;
};

/**
 * Who has one of these environments open: each holds a lock on lock.mdb as long as it has (source:
 * liblmdb, mdb_env_setup_locks), and the kernel tells everybody about locks, also of a slapd whose
 * memory map is hidden because of its file capabilities. A pid file may lie; this does not.
 */
export async function environmentUsers(directories: readonly string[]): Promise<EnvironmentUser[]> {
	const files: FileName[] = [];
	for (const directory of directories) {
		const lock = await stat(join(directory, "lock.mdb"), { bigint: true }).catch(() => undefined);
		if (lock === undefined) continue;
		const mount = await mountDevice(directory).catch(() => undefined);
		const devices = [deviceOfStat(lock.dev), ...(mount === undefined ? [] : [mount])];
		files.push({ devices, inode: lock.ino });
	}
	if (files.length === 0) return [];
	const users: EnvironmentUser[] = [];
	const locks = await readFile("/proc/locks", "latin1").catch(() => "");
	for (const pid of lockHolders(locks, files)) {
		const user = userOf(pid);
		// Where the file can be read by all, any user could hold a lock on it for ever.
		if (user === "other" || user === "gone") continue;
		const name = (await readFile(`/proc/${pid}/comm`, "utf8").catch(() => "")).trim();
		const hidden = name === "";
		users.push({
			pid,
			name: hidden ? "hidden from us" : name,
			serves: hidden || name.includes("slapd"),
		});
	}
	return users;
}

/** The device of the file system that a directory lies on, as the kernel's locks have it. */
async function mountDevice(directory: string): Promise<string | undefined> {
	await using file = await open(directory, "r");
	const facts = await readFile(`/proc/self/fdinfo/${file.fd}`, "latin1");
	const id = /^mnt_id:\s*(\d+)/m.exec(facts)?.[1];
	if (id === undefined) return undefined;
	return deviceOfMount(await readFile("/proc/self/mountinfo", "latin1"), id);
}
