import { readdirSync, renameSync, statSync, truncateSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import { die } from "../services/crash-points.ts";
import { op } from "./layouts.ts";
import { LogReader } from "./log-reader.ts";
import { LogWriter, rewriteHeader } from "./log-writer.ts";
import { latestMinor, type RedoRecord, type TransactionId, transactionName } from "./record.ts";

export type RolloverSettings = {
	/** zimbraRedoLogRolloverFileSizeKB */
	readonly softKilobytes: number;
	/** zimbraRedoLogRolloverMinFileAge */
	readonly minimumAgeMinutes: number;
	/** zimbraRedoLogRolloverHardMaxFileSizeKB */
	readonly hardKilobytes: number;
	/** zimbraRedoLogDeleteOnRollover */
	readonly deleteOnRollover: boolean;
};

/** zimbraRedoLogFsyncIntervalMS */
const fsyncMs = 10;

/**
 * The redo log of a running mailboxd: transactions, rollover, and recovery at start, as in
 * com.zimbra.cs.redolog.RedoLogManager, RolloverManager and RedoPlayer.
 */
export class RedoLog {
	readonly #directory: string;
	readonly #serverId: string;
	readonly #rules: RolloverSettings;
	readonly #lookbackSeconds: number;
	readonly #flushDatabase: () => Promise<void>;
	readonly #active = new Map<string, RedoRecord>();
	readonly #startedSecond: number;
	#counter = 0;
	#writer: LogWriter;
	#sizeAtStart = 0;
	#rolling: Promise<void> | undefined;

	constructor(options: {
		/** the first half of each transaction id */
		startedSecond: number;
		directory: string;
		serverId: string;
		rules: RolloverSettings;
		/** zimbraRedoLogCrashRecoveryLookbackSec */
		lookbackSeconds: number;
		flushDatabase: () => Promise<void>;
	}) {
		this.#startedSecond = options.startedSecond;
		this.#directory = options.directory;
		this.#serverId = options.serverId;
		this.#rules = options.rules;
		this.#lookbackSeconds = options.lookbackSeconds;
		this.#flushDatabase = options.flushDatabase;
		this.#writer = this.#newWriter(0);
	}

	get path(): string {
		return join(this.#directory, "redo.log");
	}

	get sequence(): number {
		return this.#writer.header.sequence;
	}

	get size(): number {
		return this.#writer.size;
	}

	newTransaction(): TransactionId {
		return { time: this.#startedSecond, counter: ++this.#counter };
	}

	/** The change record of a transaction. It is on disk when the promise resolves. */
	async change(record: RedoRecord): Promise<void> {
		await this.#log(record, true, () => this.#active.set(nameOf(record), record));
	}

	/** Written, not fsynced: the next group fsync takes it along. */
	async commit(record: RedoRecord): Promise<void> {
		await this.#log(endRecord(record, op.commit), false, () => this.#active.delete(nameOf(record)));
	}

	async abort(record: RedoRecord): Promise<void> {
		await this.#log(endRecord(record, op.abort), true, () => this.#active.delete(nameOf(record)));
	}

	/** @param force even if the log is small and young; an empty log never rolls */
	async rollover(force: boolean): Promise<boolean> {
		while (this.#rolling !== undefined) await this.#rolling;
		if (!this.#rolloverNeeded(force)) return false;
		const { promise, resolve } = Promise.withResolvers<void>();
		this.#rolling = promise;
		try {
			await this.#flushDatabase();
			this.#roll();
		} finally {
			this.#rolling = undefined;
			resolve();
		}
		return true;
	}

	async stop(): Promise<void> {
		await this.rollover(true);
		this.#writer.flush();
		this.#writer.close();
	}

	/**
	 * Opens the log and redoes what may be missing in the store: operations without end, and those
	 * committed in the seconds before this start. Returns how many it has executed.
	 */
	async start(redo: (record: RedoRecord) => Promise<void>): Promise<number> {
		this.#finishRollover();
		this.#writer.open();
		const since =
			Math.max(statSync(this.path).mtimeMs, this.#writer.header.createTime) -
			this.#lookbackSeconds * 1000;
		this.#writer.close();
		const unfinished = this.#scan(since);
		this.#writer.open();
		for (const record of unfinished) {
			const success = await redo(record).then(
				() => true,
				() => false,
			);
			await this.#writer.log(endRecord(record, success ? op.commit : op.abort), true);
		}
		this.#writer.close();
		this.#writer.open();
		this.#sizeAtStart = this.#writer.size;
		if (unfinished.length > 0) await this.rollover(true);
		return unfinished.length;
	}

	async #log(record: RedoRecord, synchronous: boolean, note: () => void): Promise<void> {
		while (this.#rolling !== undefined) await this.#rolling;
		note();
		await this.#writer.log(record, synchronous);
		if (this.#rolloverNeeded(false)) await this.rollover(false);
	}

	#rolloverNeeded(force: boolean): boolean {
		const { size } = this.#writer;
		if (force) return size > 512;
		if (size >= this.#rules.hardKilobytes * 1024) return true;
		if (size < this.#rules.softKilobytes * 1024 || size <= this.#sizeAtStart) return false;
		return Date.now() - this.#writer.header.createTime >= this.#rules.minimumAgeMinutes * 60_000;
	}

	/** FileLogWriter.rollover. Synchronous, since all logging waits for it. */
	#roll(): void {
		if (this.#active.size > 0) {
			void this.#writer.log(this.#checkpoint(), false);
			this.#writer.flush();
		}
		die("rollover:checkpoint");
		const { sequence } = this.#writer.header;
		this.#writer.close();
		die("rollover:closed");
		const time = rolloverTime();
		const temporary = join(this.#directory, `~tmp-redo-${time}-seq${sequence + 1}.log`);
		const next = new LogWriter(temporary, this.#serverId, sequence + 1, 0);
		next.open();
		for (const record of this.#active.values()) void next.log(record, false);
		next.close();
		die("rollover:temporary");
		const archive = join(this.#directory, "archive", `redo-${rolloverTime()}-seq${sequence}.log`);
		if (this.#rules.deleteOnRollover) unlinkSync(this.path);
		else renameSync(this.path, archive);
		die("rollover:archived");
		renameSync(temporary, this.path);
		die("rollover:renamed");
		this.#writer = this.#newWriter(sequence + 1);
		this.#writer.open();
		this.#sizeAtStart = this.#writer.size;
	}

	#checkpoint(): RedoRecord {
		const transactions = [...this.#active.values()].map(({ transaction }) => ({ ...transaction }));
		return {
			opcode: op.checkpoint,
			minor: latestMinor,
			time: 0,
			changeId: -1,
			changeConstraint: 0,
			transaction: { time: 0, counter: 0 },
			mailboxId: 0,
			fields: { transactions },
		};
	}

	/** A death between the two renames of a rollover: RolloverManager.crashRecovery. */
	#finishRollover(): void {
		const left = readdirSync(this.#directory)
			.filter((name) => name.startsWith("~tmp-redo-") && name.endsWith(".log"))
			.map((name) => join(this.#directory, name))
			.sort((a, b) => statSync(a).mtimeMs - statSync(b).mtimeMs);
		const missing = !readdirSync(this.#directory).includes("redo.log");
		const newest = missing ? left.pop() : undefined;
		if (newest !== undefined) renameSync(newest, this.path);
		for (const each of left) renameSync(each, `${each}.bak`);
	}

	/** Reads the log, cuts a torn tail off, and gives the changes to redo: RedoPlayer.scanLog. */
	#scan(ignoreCommitsSince: number): RedoRecord[] {
		const open = new Map<string, RedoRecord>();
		using reader = new LogReader(this.path);
		for (let each = reader.next(); each !== undefined; each = reader.next()) {
			const { record } = each;
			if (record.opcode === op.checkpoint) continue;
			const ends = record.opcode === op.commit || record.opcode === op.abort;
			if (!ends) open.set(nameOf(record), record);
			else if (record.opcode === op.abort || record.time < ignoreCommitsSince)
				open.delete(nameOf(record));
		}
		const { goodEnd, size } = reader.end();
		if (goodEnd < size) {
			truncateSync(this.path, goodEnd);
			rewriteHeader(this.path, { ...reader.header, fileSize: goodEnd });
		}
		return [...open.values()];
	}

	#newWriter(sequence: number): LogWriter {
		return new LogWriter(this.path, this.#serverId, sequence, fsyncMs);
	}
}

const nameOf = (record: RedoRecord): string => transactionName(record.transaction);

function endRecord(of: RedoRecord, opcode: number): RedoRecord {
	return {
		...of,
		opcode,
		minor: latestMinor,
		time: Date.now(),
		changeId: -1,
		changeConstraint: 0,
		fields: { operation: of.opcode },
	};
}

/** yyyyMMdd.HHmmss.SSS, GMT */
const rolloverTime = (): string =>
	new Date().toISOString().replaceAll(/[-:Z]/g, "").replace("T", ".");
