import assert from "node:assert/strict";
import { test } from "node:test";
import { deviceOfMount, deviceOfStat, lockHolders } from "../../src/formats/proc-locks.ts";

const locks = [
	"1: POSIX  ADVISORY  READ 24131 fe:00:2212177 0 0",
	"2: FLOCK  ADVISORY  WRITE 500 fe:00:2212177 0 EOF",
	"3: POSIX  ADVISORY  READ 24132 00:2a:2212177 0 0",
	"4: POSIX  ADVISORY  WRITE 24133 fe:00:77 0 0",
	"4: -> POSIX  ADVISORY  WRITE 24134 fe:00:77 0 0",
	"",
].join("\n");

test("a lock on a file of another file system with the same inode number is none of ours", () => {
	assert.deepEqual(lockHolders(locks, [{ devices: ["fe:00"], inode: 2212177n }]), [24131]);
	assert.deepEqual(
		lockHolders(locks, [{ devices: ["fe:00", "00:2a"], inode: 2212177n }]),
		[24131, 24132],
	);
});

test("who waits for a lock counts like its holder", () => {
	assert.deepEqual(lockHolders(locks, [{ devices: ["fe:00"], inode: 77n }]), [24133, 24134]);
});

test("device numbers of stat and of the table of mounts are read as the kernel writes them for locks", () => {
	assert.equal(deviceOfStat(0xfe00n), "fe:00");
	assert.equal(deviceOfStat(0x2an), "00:2a");
	// 259:300: numbers above 255 are split.
	assert.equal(deviceOfStat(0x11032cn), "103:12c");
	const mountinfo = [
		"29 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw",
		"31 29 0:42 /@/opt /opt rw,relatime - btrfs /dev/vdb rw,subvol=/@/opt",
	].join("\n");
	assert.equal(deviceOfMount(mountinfo, "29"), "fe:00");
	assert.equal(deviceOfMount(mountinfo, "31"), "00:2a");
	assert.equal(deviceOfMount(mountinfo, "3"), undefined);
});
