import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { open, statfs } from "node:fs/promises";
import { join } from "node:path";
import type { SnapshotFile } from "../../formats/ldap/wire.ts";
import { syncDirectory } from "../files.ts";
import { listTree } from "./directory.ts";

/** Size and digest of every file of a copy: what the other host compares with. */
export async function describeContents(root: string): Promise<SnapshotFile[]> {
	const contents: SnapshotFile[] = [];
	for (const path of (await listTree(root, true)).files) {
		const hash = createHash("sha256");
		let size = 0;
		for await (const bytes of createReadStream(join(root, path), { highWaterMark: 1 << 20 })) {
			hash.update(bytes);
			size += bytes.length;
		}
		contents.push({ path, size, sha256: hash.digest("hex") });
	}
	return contents;
}

/** Throws where `bytes` more would leave less free space than the floor. */
export async function checkRoom(directory: string, bytes: number, floor: number): Promise<void> {
	const { bavail, bsize } = await statfs(directory);
	const free = bavail * bsize;
	if (free - bytes >= floor) return;
	throw new Error(
		`${directory}: ${mebibytes(free)} MiB free, a copy of LDAP takes ${mebibytes(bytes)} MiB and ${mebibytes(floor)} MiB must stay (disk_floor); make room there`,
	);
}

const mebibytes = (bytes: number): number => Math.round(bytes / 2 ** 20);

/** Makes a whole copy durable, before anything relies on it. */
export async function syncTree(root: string): Promise<void> {
	const { directories, files } = await listTree(root, true);
	for (const path of files) {
		await using file = await open(join(root, path), "r");
		await file.sync();
	}
	for (const path of directories) await syncDirectory(join(root, path));
	await syncDirectory(root);
}
