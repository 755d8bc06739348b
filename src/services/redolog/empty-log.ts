import { join } from "node:path";
import { formatHeader, headerSize } from "../../formats/redolog/header.ts";
import { isThere, readAt, removeDurably, writeDurably } from "../files.ts";
import type { ZimbraPaths } from "../paths.ts";
import { listArchive, type OpenLog, openLog } from "./open-log.ts";

// Where the live server died between two logs, or the next one was not taken any more, there is no redo.log
// here. Zimbra would begin one of sequence 0 then, and beside the archives that are here no mirror could
// follow that. So `stop` leaves one without operations, as a clean stop of Zimbra does. Its bytes follow from
// the log before it: so it is known again, until Zimbra has written to it.

/**
 * Sees that Zimbra finds a redo log when it is started here. Gives what an admin must know where there is
 * none, and none could be made.
 */
export async function leaveEmptyLog(zimbra: ZimbraPaths): Promise<string | undefined> {
	const { archive, currentLog } = zimbra;
	const current = await openLog(currentLog);
	await current?.file.close();
	if (current !== undefined) return undefined;
	const counts =
		"Zimbra, started now, would count its redo logs from 0 again, and no mirror could follow it while there are archives of higher numbers";
	if (await isThere(currentLog)) {
		return `${currentLog} is no redo log: ${counts}. Move it away, then type live-syncd stop again`;
	}
	const bytes = await emptyLogHere(zimbra);
	if (bytes === undefined) {
		return `${currentLog} is missing, and ${archive} has no redo log that it could follow: ${counts}`;
	}
	await writeDurably(currentLog, bytes);
	return undefined;
}

/** Removes the log that {@link leaveEmptyLog} has left: the live server's next one has another create time. */
export async function dropEmptyLog(zimbra: ZimbraPaths): Promise<void> {
	const current = await openLog(zimbra.currentLog);
	if (current === undefined) return;
	const left = await isLeftEmpty(zimbra, current);
	await current.file.close();
	if (left) await removeDurably(zimbra.currentLog);
}

/** Whether that is the log that {@link leaveEmptyLog} has left, as it left it. */
export async function isLeftEmpty(zimbra: ZimbraPaths, { file }: OpenLog): Promise<boolean> {
	if ((await file.stat()).size !== headerSize) return false;
	const bytes = await emptyLogHere(zimbra);
	return bytes?.equals(await readAt(file, 0, headerSize)) === true;
}

async function emptyLogHere(zimbra: ZimbraPaths): Promise<Buffer | undefined> {
	const newest = (await listArchive(zimbra)).at(-1);
	const previous = newest && (await openLog(join(zimbra.archive, newest.name)));
	await previous?.file.close();
	if (previous === undefined) return undefined;
	const { sequence, serverId, version, createTime } = previous.header;
	return formatHeader({
		...{ open: false, fileSize: headerSize, firstOperationTime: 0, lastOperationTime: 0 },
		...{ sequence: sequence + 1, serverId, version, createTime: createTime + 1 },
	});
}
