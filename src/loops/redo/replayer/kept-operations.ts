import { rm } from "node:fs/promises";
import { join } from "node:path";
import { formatOperations, keptOperations } from "../../../formats/replay/kept-operations.ts";
import type { FailedOperation } from "../../../formats/replay/mailbox-log.ts";
import type { ReplayRange } from "../../../formats/replay/scan.ts";
import type { CommittedOperation } from "../../../formats/replay/state.ts";
import type { Config } from "../../../services/config.ts";
import { makeDirectory, syncDirectory, writeDurably } from "../../../services/files.ts";
import { type KeptLot, readKeptLots } from "../../../services/kept-lots.ts";
import { pause, writeSlice } from "../../../services/redolog/slice-writer.ts";

/**
 * Operations that need an admin's eye, each lot in a directory of its own below status/failed:
 *
 *     operations.tsv   what they are
 *     redo.log         their records with the blobs they link, as zmplayredo can be given them
 *     messages.txt     what zmplayredo said of them
 *     summary.json     written last: without it the directory is not whole
 *
 * - `failed`: zmplayredo could not execute them
 * - `set aside`: not given to zmplayredo, since their account is not in the local LDAP directory
 * - `left out`: copies, not given to zmplayredo again, since they may be there
 * - `exported`: of mailboxes in which Zimbra, started here without `stop`, has worked since; never to be
 *   given to zmplayredo: messages/ has the mail
 * - `at risk`: executed once, twice or not at all; only named, their records are in the log
 */
export type KeptKind = "failed" | "set aside" | "left out" | "exported" | "at risk";

/** Kept before a run, of what that run is not given. */
export const keptBack: readonly KeptKind[] = ["set aside", "left out"];

export type KeptSummary = {
	readonly version: 1;
	readonly kind: KeptKind;
	readonly count: number;
	/** ms since the epoch */
	readonly at: number;
	readonly run: string;
};

export type Lot = {
	readonly kind: KeptKind;
	/** the token of the run: the same lot kept again replaces itself */
	readonly run: string;
	readonly range: ReplayRange;
	readonly wanted: (operation: CommittedOperation) => boolean;
	/** what zmplayredo said; may tell of more operations than it names */
	readonly said?: readonly FailedOperation[];
};

/**
 * Keeps a lot; when it returns, it is on disk. Gives the directory, and how many operations it is
 * about: undefined where there are none.
 */
export async function keep(
	{ base }: Config,
	lot: Lot,
): Promise<{ readonly directory: string; readonly count: number } | undefined> {
	const { operations, file } = await keptOperations(lot.range, lot.wanted, pause);
	const said = lot.said ?? [];
	const count = Math.max(operations.length, said.length);
	if (count === 0) return undefined;
	const directory = join(base.failed, lotName(lot.run, lot.kind));
	await makeDirectory(directory);
	if (file?.kind === "slice" && lot.kind !== "at risk") {
		await writeSlice(file, lot.range.logs, join(directory, "redo.log"));
	}
	await writeDurably(join(directory, "operations.tsv"), formatOperations(operations));
	if (said.length > 0) {
		await writeDurably(join(directory, "messages.txt"), said.map((s) => `${s.text}\n`).join(""));
	}
	const summary: KeptSummary = { version: 1, kind: lot.kind, count, at: Date.now(), run: lot.run };
	await writeDurably(join(directory, "summary.json"), `${JSON.stringify(summary)}\n`);
	await syncDirectory(base.failed);
	return { directory, count };
}

/** All lots that are kept. */
export const listKept = ({ base }: Config): Promise<KeptLot[]> => readKeptLots(base.failed);

/** Takes lots of a run back: what they kept comes again. */
export async function forget(
	{ base }: Config,
	run: string,
	kinds: readonly KeptKind[],
): Promise<void> {
	for (const kind of kinds) {
		await rm(join(base.failed, lotName(run, kind)), { recursive: true, force: true });
	}
}

const lotName = (run: string, kind: KeptKind): string => `${run}-${kind.replace(" ", "-")}`;
