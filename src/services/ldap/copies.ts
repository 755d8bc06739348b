import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { open, stat } from "node:fs/promises";
import { join } from "node:path";
import { mebibytes } from "../../formats/guards.ts";
import type { SnapshotFile } from "../../formats/ldap/wire.ts";
import { freeBytes, syncDirectory } from "../files.ts";
import { listTree } from "./directory.ts";

/** Size and digest of every file of a copy: what the other host compares with. */
export async function describeContents(root: string): Promise<SnapshotFile[]> {
	const contents: SnapshotFile[] = [];
	for (const path of (await listTree(root)).files) {
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
	const free = await freeBytes(directory);
	if (free - bytes >= floor) return;
	throw new Error(
		`${directory}: ${mebibytes(free)} MiB free, a copy of LDAP takes ${mebibytes(bytes)} MiB and ${mebibytes(floor)} MiB must stay (disk_floor); make room there`,
	);
}

/** Bytes that a copy of that size takes on the mirror: one for slapd, and what staging grows by. */
export async function roomForCopy(size: number, staging: string): Promise<number> {
	let staged = 0;
	for (const path of (await listTree(staging).catch(() => undefined))?.files ?? []) {
		// A sparse file takes less than its size.
		staged += (await stat(join(staging, path))).blocks * 512;
	}
	return size + Math.max(0, size - staged);
}

/** Makes a whole copy durable, before anything relies on it. */
export async function syncTree(root: string): Promise<void> {
	const { directories, files } = await listTree(root);
	for (const path of files) {
		await using file = await open(join(root, path), "r");
		await file.sync();
	}
	for (const path of directories) await syncDirectory(join(root, path));
	await syncDirectory(root);
}
