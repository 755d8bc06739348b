import { constants, promises } from "node:fs";
import { userInfo } from "node:os";
import { join } from "node:path";
import { hasCode, Refusal } from "../errors.ts";
import { makeDirectory, renameDurably } from "./files.ts";

/**
 * Does in a directory once what a mirror does there all the time: makes a file, writes it to disk,
 * renames it, also into `archive` where one is given, and removes it. Modes and mount tables do not tell
 * as much: a bind mount is another file system to rename(2), a link may lead to one, and an attribute
 * or a quota may forbid what the mode allows. Makes the directories where they are missing.
 * Throws a {@link Refusal}: not-writable, two-file-systems.
 */
export async function tryDirectory(directory: string, archive = directory): Promise<void> {
	const from = join(directory, `.live_sync.trial.${process.pid}`);
	const to = join(archive, `.live_sync.tried.${process.pid}`);
	try {
		await makeDirectory(directory);
		await makeDirectory(archive);
		await using file = await promises.open(from, "w", 0o640);
		await file.writeFile("\n");
		await file.sync();
		await renameDurably(from, to);
	} catch (error) {
		// How much room there must be is judged elsewhere, and a mirror that has followed may go on without.
		if (hasCode(error, "ENOSPC", "EDQUOT")) return;
		if (hasCode(error, "EXDEV")) throw twoFileSystems(directory, archive);
		throw notWritable(archive === directory ? directory : `${directory} or ${archive}`, error);
	} finally {
		for (const file of [from, to]) await promises.rm(file, { force: true }).catch(() => undefined);
	}
}

/** Throws a {@link Refusal} (not-writable) where this user may not write to a file or directory that is there. */
export async function demandWritable(path: string): Promise<void> {
	await promises.access(path, constants.W_OK).catch((error: unknown) => {
		if (!hasCode(error, "ENOENT")) throw notWritable(path, error);
	});
}

export function notWritable(what: string, error: unknown): Refusal {
	const hint = hasCode(error, "EROFS")
		? "the file system is read-only: look for its errors in the kernel log (dmesg), then as root: mount -o remount,rw MOUNT-POINT"
		: hasCode(error, "ENOENT", "ENOTDIR", "EEXIST", "ELOOP")
			? "what stands there is no directory: look at it (ls -l), move it away, and make the directory; a link must lead to one"
			: `as root, let it belong to the user of Zimbra: chown ${userInfo().username}: ${what.replace(" or ", " ")}`;
	return new Refusal("not-writable", `${what} cannot be written`, hint, { cause: error });
}

function twoFileSystems(directory: string, archive: string): Refusal {
	return new Refusal(
		"two-file-systems",
		`${directory} and ${archive} are on two file systems, and nothing can be renamed from the one into the other (EXDEV; a bind mount counts as a file system of its own)`,
		`let both be on one: mount the file system above both, or where ${directory} is, and let ${archive} be a plain directory on it`,
	);
}
