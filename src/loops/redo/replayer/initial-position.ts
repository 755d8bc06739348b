import { open, readdir } from "node:fs/promises";
import { Refusal } from "../../../errors.ts";
import { headerSize } from "../../../formats/redolog/header.ts";
import { isKnown } from "../../../formats/redolog/layouts.ts";
import { isTemporaryName } from "../../../formats/redolog/log-name.ts";
import type { LogIdentity } from "../../../formats/redolog/position.ts";
import { formatTransaction } from "../../../formats/redolog/record.ts";
import { LogWalk } from "../../../formats/redolog/walker.ts";
import type { Config } from "../../../services/config.ts";
import type { ZimbraPaths } from "../../../services/paths.ts";
import { fileSource } from "../../../services/redolog/log-files.ts";
import { openLog } from "../../../services/redolog/open-log.ts";
import { readProvenance } from "../../../services/redolog/provenance.ts";
import { newerLog } from "./remarks.ts";

/** Where replay begins on a server that has not replayed anything yet. */
export type InitialPosition = {
	readonly identity: LogIdentity;
	readonly offset: number;
};

export const lostPositionHint =
	"a copy of it that is older than the last replay run would have operations executed twice: docs/errors.md has a section position-lost; to be sure, make the mirror anew: docs/runbooks.md, initial copy";

/**
 * The end of the redo log that came with the initial copy: everything in it is in the store already.
 * Asked only where no replayed position is kept.
 * Throws a Refusal: no-initial-copy, unclean-copy, log-version, position-lost.
 * @param walkEnd where the walk over the records of the log ends, and whether transactions are open there
 */
export async function initialPosition(
	{ base, zimbra }: Config,
	timeline: number,
	walkEnd: (path: string) => Promise<{ offset: number; open: number }>,
): Promise<InitialPosition> {
	if ((await readProvenance(zimbra.mirrorMarker)) !== undefined) {
		throw new Refusal(
			"position-lost",
			`this mirror has received redo logs (${zimbra.mirrorMarker}), but the file that tells how far they were replayed, ${base.replayed}, is missing`,
			lostPositionHint,
		);
	}
	return await cleanEnd(zimbra, timeline, walkEnd);
}

/**
 * The end of the local redo log, where Zimbra was stopped cleanly: everything in it is then in the
 * store. Throws a Refusal: no-initial-copy, unclean-copy, log-version.
 */
export async function cleanEnd(
	zimbra: ZimbraPaths,
	timeline: number,
	walkEnd: (path: string) => Promise<{ offset: number; open: number }> = walkWhole,
): Promise<InitialPosition> {
	const copying = "docs/runbooks.md, initial copy";
	const log = await openLog(zimbra.currentLog);
	if (log === undefined) {
		throw new Refusal(
			"no-initial-copy",
			`${zimbra.currentLog} is missing: this server's store is no copy of the live one, so there is nothing to go on from`,
			`make the initial copy with the live server stopped, redolog/ included: ${copying}`,
		);
	}
	await using open = log;
	const { size } = await open.file.stat();
	if (!isKnown(open.header.version)) throw newerLog(zimbra.currentLog, open.header.version);
	const { serverId, sequence, createTime } = open.header;
	const unclean = (what: string) =>
		new Refusal(
			"unclean-copy",
			`${zimbra.currentLog} was not left by a clean stop of Zimbra: ${what}, so this server's store may lack what the log has`,
			`on a copy: copy again with the live server stopped. On an old live server that died: docs/runbooks.md, failback`,
		);
	const temporary = (await readdir(zimbra.redolog)).filter(isTemporaryName);
	if (temporary.length > 0) throw unclean(`a rollover was under way (${temporary.join(", ")})`);
	if (open.header.open) throw unclean("its header says that it is open");
	if (size !== headerSize) {
		if (open.header.fileSize !== size) {
			throw unclean(`its header says ${open.header.fileSize} bytes, it has ${size}`);
		}
		const end = await walkEnd(zimbra.currentLog);
		if (end.offset !== size) throw unclean(`its records end at ${end.offset} of ${size} bytes`);
		if (end.open > 0) throw unclean(`${end.open} operations in it have no end`);
	}
	return { identity: { serverId, sequence, createTime, timeline }, offset: size };
}

/** Where the records of a log end, and how many transactions are open there. */
export async function walkWhole(path: string): Promise<{ offset: number; open: number }> {
	await using file = await open(path, "r");
	const { size } = await file.stat();
	const walk = new LogWalk(fileSource(file.fd));
	const transactions = new Set<string>();
	for (const record of walk) {
		const id = formatTransaction(record.transaction);
		if (record.kind === "change") transactions.add(id);
		else transactions.delete(id);
	}
	return { offset: walk.end?.offset ?? size, open: transactions.size };
}
