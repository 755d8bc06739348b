import { describe } from "../../errors.ts";
import { judgeLiveEnd } from "../../formats/live-end.ts";
import { DigestChain } from "../../formats/redolog/digest-chain.ts";
import { headerSize } from "../../formats/redolog/header.ts";
import type { Position } from "../../formats/redolog/position.ts";
import { LogWalk } from "../../formats/redolog/walker.ts";
import type { Role } from "../../formats/role.ts";
import type { RedoState } from "../../formats/state.ts";
import { listKept } from "../../loops/redo/replayer/kept-operations.ts";
import { readReplayed } from "../../loops/redo/replayer/position.ts";
import type { Config } from "../../services/config.ts";
import type { KeptLot } from "../../services/kept-lots.ts";
import { readPublished } from "../../services/publish.ts";
import { extendChain } from "../../services/redolog/extend-chain.ts";
import { fileSource } from "../../services/redolog/log-files.ts";
import { findLog, type OpenLog } from "../../services/redolog/open-log.ts";
import { type Provenance, readProvenance } from "../../services/redolog/provenance.ts";

/**
 * What is missing in the message store, as far as this machine can know.
 * @param typedAt ms since the epoch: when `stop` was typed; undefined where Zimbra was started here before, and
 * the loops ended with that
 */
export async function lossesOf(config: Config, role: Role, typedAt?: number): Promise<string[]> {
	const { base, settings } = config;
	const losses: string[] = [];
	const kept = await listKept(config).catch((error: unknown): KeptLot[] => {
		losses.push(`whether operations failed or were set aside is not known: ${describe(error)}`);
		return [];
	});
	const count = kept.reduce((sum, lot) => sum + (lot.kind === "at risk" ? 0 : lot.count), 0);
	const atRisk = kept.reduce((sum, lot) => sum + (lot.kind === "at risk" ? lot.count : 0), 0);
	if (count + atRisk > 0) {
		losses.push(
			`${count} operations failed or were set aside, and of ${atRisk} nobody knows whether they were executed: see ${base.failed} and docs/runbooks.md, replay has stopped`,
		);
	}
	const { text, loss } = judgeLiveEnd({
		...(await endHere(config)),
		state: await readPublished<RedoState>(base.stateRedo, 1),
		since: role.since,
		// The first one counts: nothing was to be heard after that.
		until: role.stopped?.at ?? typedAt,
		heartbeatMs: settings.heartbeat_interval,
		linkTimeoutMs: settings.link_timeout,
		lagMaxMs: settings.lag_max,
	});
	if (loss) losses.push(text);
	else process.stdout.write(`${text}\n`);
	return losses;
}

/** Where the bytes end that are here, whatever was published of them. */
async function endHere(config: Config): Promise<{ here: Position | undefined; closed: boolean }> {
	const { zimbra } = config;
	const record = await readProvenance(zimbra.mirrorMarker);
	if (record === undefined) return { here: undefined, closed: false };
	const { sequence, createTime } = record.identity;
	const log = await findLog(zimbra, sequence, createTime);
	await log?.file.close();
	const closed = !record.receiving && log !== undefined && log.path !== zimbra.currentLog;
	return { here: { sequence, offset: record.upTo }, closed };
}

/**
 * What was received and is not in the message store after a replay of everything. Nothing may be left but a
 * record that had not come whole.
 */
export async function unreplayedRest(config: Config): Promise<string[]> {
	const { zimbra } = config;
	const record = await readProvenance(zimbra.mirrorMarker);
	if (record === undefined) return [];
	const { identity, upTo } = record;
	const { sequence, createTime } = identity;
	const replayed = await readReplayed(config);
	if (replayed.log.sequence > sequence) return [];
	const from = replayed.log.sequence === sequence ? replayed.offset : headerSize;
	if (from >= upTo) return [];
	const missing = "is not in the message store; the live server's disk or its backup may have it";
	await using log = await findLog(zimbra, sequence, createTime);
	if (log === undefined) {
		return [
			`redo log ${sequence}, of which ${upTo} bytes were received, is neither in ${zimbra.archive} nor ${zimbra.currentLog}: what it had behind ${from} ${missing}`,
		];
	}
	const { size } = await log.file.stat();
	if (size < upTo) {
		return [
			`${log.path} has ${size} bytes, ${upTo} were received: what it had behind ${size} ${missing}`,
		];
	}
	const walk = new LogWalk(fileSource(log.file.fd), { from, to: upTo });
	const isTorn = walk.next() === undefined && walk.end?.kind === "torn";
	// A disk that has damaged a length makes all behind it look like the rest of one record.
	if (isTorn && (await isAsReceived(log, record))) return [];
	return [`${log.path} cannot be read at ${from}: what it has there, up to ${upTo}, ${missing}`];
}

async function isAsReceived({ file }: OpenLog, { upTo, digest }: Provenance): Promise<boolean> {
	const chain = await extendChain(file, new DigestChain(), upTo, new AbortController().signal);
	return chain.offset === upTo && chain.digest().toString("hex") === digest;
}
