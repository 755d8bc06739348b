import { appendFileSync, copyFileSync, readFileSync } from "node:fs";
import { op } from "../../pair/redo/layouts.ts";
import type { RedoRecord } from "../../pair/redo/record.ts";
import { RedoLog } from "../../pair/redo/redo-log.ts";
import type { StreamPair } from "./stream-pair.ts";

/** A mailboxd's redo log in the live directory of a {@link StreamPair}, without the mailboxd. */
export class History {
	readonly #pair: StreamPair;
	#log: RedoLog;
	#change = 0;

	private constructor(pair: StreamPair, log: RedoLog) {
		this.#pair = pair;
		this.#log = log;
	}

	/** Begins a log; with `copied`, the mirror has the initial copy of it. */
	static async begin(pair: StreamPair, { copied = true } = {}): Promise<History> {
		const history = new History(pair, makeLog(pair));
		await history.#log.start(async () => undefined);
		await history.#log.stop();
		if (copied) copyFileSync(pair.live.zimbra.currentLog, pair.mirror.zimbra.currentLog);
		history.#log = makeLog(pair);
		await history.#log.start(async () => undefined);
		return history;
	}

	/** One committed operation whose record has about so many bytes. */
	async commit(bytes: number): Promise<void> {
		const record = this.#record(bytes);
		await this.#log.change(record);
		await this.#log.commit(record);
	}

	/** An operation that stays open. */
	async leaveOpen(bytes: number): Promise<RedoRecord> {
		const record = this.#record(bytes);
		await this.#log.change(record);
		return record;
	}

	async rollover(): Promise<void> {
		await this.#log.rollover(true);
	}

	async stop(): Promise<void> {
		await this.#log.stop();
	}

	/** mailboxd dies with half a record at the end of its log; `recover` starts it again. */
	tear(bytes: number): void {
		const path = this.#pair.live.zimbra.currentLog;
		const junk = readFileSync(path).subarray(512, 512 + 200);
		appendFileSync(path, Buffer.concat([junk.subarray(0, 46), Buffer.alloc(bytes, "torn ")]));
	}

	/** A new mailboxd: its recovery cuts the torn tail off. */
	async recover(): Promise<void> {
		this.#log = makeLog(this.#pair);
		await this.#log.start(async () => undefined);
	}

	#record(bytes: number): RedoRecord {
		return {
			opcode: op.createFolder,
			minor: 42,
			time: Date.now(),
			changeId: ++this.#change,
			changeConstraint: 0,
			transaction: this.#log.newTransaction(),
			mailboxId: 3,
			fields: {
				name: "n".repeat(Math.max(1, bytes - 150)),
				parent: 1,
				attributes: 0,
				view: 0,
				flags: 0,
				color: 0,
				url: "",
				id: this.#change,
				uuid: null,
				hasDate: false,
				customKey: null,
			},
		};
	}
}

let started = 1_700_000_000;

function makeLog(pair: StreamPair): RedoLog {
	return new RedoLog({
		startedSecond: ++started,
		directory: pair.live.zimbra.redolog,
		serverId: "5a1d0b7e-0000-4000-8000-7a696d627261",
		rules: {
			softKilobytes: 1 << 20,
			hardKilobytes: 1 << 22,
			minimumAgeMinutes: 60,
			deleteOnRollover: false,
		},
		lookbackSeconds: 10,
		flushDatabase: async () => undefined,
	});
}
