/** A file as the kernel names it: device in hexadecimal, as in /proc/locks, and inode number. */
export type FileName = { readonly devices: readonly string[]; readonly inode: bigint };

/** `fe:00`, from a device number as stat(2) gives it. Source: glibc, gnu_dev_major, gnu_dev_minor. */
export function deviceOfStat(device: bigint): string {
	const major = ((device >> 8n) & 0xfffn) | ((device >> 32n) & 0xffff_f000n);
	const minor = (device & 0xffn) | ((device >> 12n) & 0xffff_ff00n);
	return deviceName(major, minor);
}

/**
 * The device of a mount in /proc/self/mountinfo. On btrfs, and on an overlay, stat(2) gives another one
 * than the kernel uses for locks. Source: proc_pid_mountinfo(5); linux, fs/locks.c, lock_get_status().
 */
export function deviceOfMount(mountinfo: string, id: string): string | undefined {
	const line = mountinfo.split("\n").find((each) => each.startsWith(`${id} `));
	const [, major, minor] = /^\d+ \d+ (\d+):(\d+) /.exec(line ?? "") ?? [];
	if (major === undefined || minor === undefined) return undefined;
	return deviceName(BigInt(major), BigInt(minor));
}

const deviceName = (major: bigint, minor: bigint): string =>
	[major, minor].map((number) => number.toString(16).padStart(2, "0")).join(":");

/** The processes that hold a POSIX lock on one of these files, or wait for one. Source: proc_locks(5). */
export function lockHolders(locks: string, files: readonly FileName[]): number[] {
	const pids = new Set<number>();
	for (const line of locks.split("\n")) {
		// 1: POSIX  ADVISORY  READ 24131 fe:00:2212177 0 0
		const [, pid, device, inode] =
			/^\d+:\s+(?:->\s+)?POSIX\s+\S+\s+\S+\s+(\d+)\s+(\w+:\w+):(\d+)\s/.exec(line) ?? [];
		if (pid === undefined || device === undefined || inode === undefined) continue;
		const found = files.some(
			(file) => file.inode === BigInt(inode) && file.devices.includes(device),
		);
		if (found) pids.add(Number(pid));
	}
	return [...pids];
}
