import { access } from "node:fs/promises";
import { join } from "node:path";
import { Refusal } from "../../../errors.ts";
import type { FromLive, LogPosition } from "../../../formats/protocol/messages.ts";
import { parseArchiveName } from "../../../formats/redolog/log-name.ts";
import { type LogIdentity, sameLog } from "../../../formats/redolog/position.ts";
import type { Config } from "../../../services/config.ts";
import { makeDirectory } from "../../../services/files.ts";
import type { Logger } from "../../../services/log/logger.ts";
import { keptLinksOf } from "../../../services/redolog/digests.ts";
import type { ProvenanceFile } from "../../../services/redolog/provenance.ts";
import { ReceivingFloor } from "../../../services/room.ts";
import { type LocalLog, saveTail } from "./local-log.ts";
import { ReceivedLog } from "./received-log.ts";

/** Bytes that may be waiting for an fsync; then the stream waits. */
const maxUnflushed = 8 << 20;

export type ReceiverEvents = {
	/** more is on disk; also called when a cut has taken something away */
	onFlushed(position: LogPosition): void;
	/** an archive is complete and byte-identical with the live one */
	onVerified(name: string): void;
	/**
	 * the live server has cut its log below what was received
	 * @param compared whether both sides have compared their bytes; else the live server just says so
	 */
	onCut(identity: LogIdentity, offset: number, compared: boolean): Promise<void>;
};

/**
 * Turns the messages of the stream into files: redo.log byte by byte as on the live server, archives
 * complete and checked. What it reports as flushed is on disk.
 */
export class Receiver implements AsyncDisposable {
	readonly #config: Config;
	readonly #provenance: ProvenanceFile;
	readonly #events: ReceiverEvents;
	readonly #log: Logger;
	readonly #onProgress: () => void;
	readonly #floor: ReceivingFloor;
	#local: LocalLog;
	#current: ReceivedLog | undefined;
	#flushing: Promise<void> | undefined;
	#failure: unknown;

	/** @param onProgress called when what came over this connection is on disk, or has been archived */
	constructor(
		config: Config,
		local: LocalLog,
		provenance: ProvenanceFile,
		events: ReceiverEvents,
		log: Logger,
		onProgress: () => void,
	) {
		this.#config = config;
		this.#local = local;
		this.#provenance = provenance;
		this.#events = events;
		this.#log = log;
		this.#onProgress = onProgress;
		this.#floor = new ReceivingFloor(config);
	}

	get received(): LogPosition | undefined {
		const log = this.#current;
		return log && { ...log.identity, offset: log.written };
	}

	/** Takes the next message; waits while too much is not on disk yet. */
	async take(message: FromLive): Promise<void> {
		if (this.#failure !== undefined) throw this.#failure;
		switch (message.kind) {
			case "agreed":
				return await this.#goOn(message.offset);
			case "file":
				return await this.#begin(message.identity, message.header);
			case "data": {
				const log = this.#mustReceive();
				await this.#floor.demand(message.bytes.length);
				await log.append(message.offset, message.bytes);
				this.#flushSoon();
				if (log.written - log.flushed > maxUnflushed) await this.#flushed();
				return;
			}
			case "header":
				return await this.#mustReceive().writeHeader(message.header);
			case "truncate":
				return await this.#cut(message.offset);
			case "end":
				return await this.#end(message);
			case "heartbeat":
				return await this.#current?.checkUntouched();
			case "differs":
			case "refusal":
				return;
		}
	}

	/** Ends receiving for now, with everything on disk that can be. */
	async rest(): Promise<void> {
		await this.#flushing;
		if (this.#failure === undefined) await this.#current?.rest();
	}

	async [Symbol.asyncDispose](): Promise<void> {
		await this.#flushing;
		await this.#current?.[Symbol.asyncDispose]();
	}

	async #goOn(offset: number): Promise<void> {
		const local = this.#local;
		if (local.kind !== "open" || local.chain.offset !== offset) {
			throw new Error(`the live server goes on at ${offset}, which was not asked for`);
		}
		this.#current = await ReceivedLog.resume(
			{ zimbra: this.#config.zimbra, provenance: this.#provenance },
			local.identity,
			local.chain,
			local.from,
			keptLinksOf(this.#config.base, local.identity),
		);
		this.#events.onFlushed({ ...local.identity, offset });
	}

	async #begin(identity: LogIdentity, header: Buffer): Promise<void> {
		if (this.#current !== undefined) {
			throw new Error(`redo log ${identity.sequence} begins before the one before it has ended`);
		}
		const expected = this.#local.identity;
		const follows = sameLog({ ...identity, createTime: 0 }, { ...expected, createTime: 0 });
		if (!follows) {
			throw new Refusal(
				"divergence",
				`redo log ${identity.sequence} of server ${identity.serverId}, timeline ${identity.timeline}, does not follow what is here: ${expected.sequence}, ${expected.serverId}, ${expected.timeline}`,
				"nothing was changed; docs/runbooks.md, divergence",
			);
		}
		await this.#refuseForeignLog();
		const kept = keptLinksOf(this.#config.base, identity);
		await kept.prune();
		this.#current = await ReceivedLog.create(
			{ zimbra: this.#config.zimbra, provenance: this.#provenance },
			identity,
			header,
			kept,
		);
		this.#events.onFlushed({ ...identity, offset: this.#current.flushed });
	}

	/** A redo.log that appeared while we have none was made by a mailboxd. */
	async #refuseForeignLog(): Promise<void> {
		const { currentLog } = this.#config.zimbra;
		const there = await access(currentLog).then(
			() => true,
			() => false,
		);
		if (!there) return;
		throw new Refusal(
			"log-altered",
			`${currentLog} has appeared: Zimbra may have been started here, and two servers may be live`,
			"nothing more is written; docs/runbooks.md, divergence",
		);
	}

	async #cut(offset: number): Promise<void> {
		const log = this.#mustReceive();
		await this.#flushed();
		const { identity } = log;
		await this.#events.onCut(identity, offset, false);
		const path = await saveTail(this.#config, identity, offset, await log.readTail(offset));
		await log.truncate(offset);
		this.#log.warn(
			{ log: identity.sequence, offset, saved: path },
			"the live server has cut its redo log after a crash, and so did we",
		);
		this.#events.onFlushed({ ...identity, offset });
	}

	async #end(message: Extract<FromLive, { kind: "end" }>): Promise<void> {
		const log = this.#mustReceive();
		const { identity } = log;
		if (parseArchiveName(message.archiveName)?.sequence !== identity.sequence) {
			throw new Error(
				`${message.archiveName} is no name for the archive of log ${identity.sequence}`,
			);
		}
		await this.#flushed();
		if (log.written !== message.size || !(await log.readDigest()).equals(message.digest)) {
			await this.#reject(log, message.size);
		}
		await log.archive(message.archiveName, message.header);
		this.#current = undefined;
		this.#local = {
			kind: "between",
			identity: { ...identity, sequence: identity.sequence + 1, createTime: 0 },
			previousHeader: message.header,
		};
		this.#events.onFlushed({ ...identity, offset: message.size });
		this.#events.onVerified(message.archiveName);
		this.#onProgress();
	}

	/** The file is not the live server's: it is kept for inspection and fetched again from its start. */
	async #reject(log: ReceivedLog, size: number): Promise<never> {
		const { identity, written } = log;
		await makeDirectory(this.#config.base.aside);
		const name = `redo.log.seq${identity.sequence}.${identity.createTime}.bad-${Date.now()}`;
		const path = join(this.#config.base.aside, name);
		await log.setAside(path);
		this.#current = undefined;
		throw new Error(
			`redo log ${identity.sequence} is not the live server's: ${written} bytes here, ${size} there, or other bytes. It was moved to ${path} and is fetched again`,
		);
	}

	#mustReceive(): ReceivedLog {
		if (this.#current === undefined) throw new Error("the live server sent bytes of no file");
		return this.#current;
	}

	/** Groups writes: while one fsync is under way, all that comes meanwhile waits for the next. */
	#flushSoon(): void {
		this.#flushing ??= this.#flushAll().finally(() => {
			this.#flushing = undefined;
		});
	}

	async #flushAll(): Promise<void> {
		try {
			let log = this.#current;
			do {
				if (log === undefined) return;
				const offset = await log.flush();
				this.#events.onFlushed({ ...log.identity, offset });
				this.#onProgress();
				log = this.#current;
			} while (log !== undefined && log.flushed < log.written);
		} catch (error) {
			this.#failure = error;
		}
	}

	/** Waits until everything written is on disk. */
	async #flushed(): Promise<void> {
		await this.#flushing;
		const log = this.#current;
		if (this.#failure === undefined && log !== undefined && log.flushed < log.written) {
			this.#flushSoon();
			await this.#flushing;
		}
		if (this.#failure !== undefined) throw this.#failure;
	}
}
