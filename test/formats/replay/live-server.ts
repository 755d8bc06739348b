import { bytesSource } from "../../../src/formats/redolog/cursor.ts";
import { formatHeader, headerSize, type LogHeader } from "../../../src/formats/redolog/header.ts";
import { formatTransaction } from "../../../src/formats/redolog/record.ts";
import { LogWalk } from "../../../src/formats/redolog/walker.ts";
import * as build from "../redolog/build.ts";

type Pending = {
	counter: number;
	opcode: number;
	bytes: Buffer;
	/** what a link must get */
	body?: string;
	path?: string;
	executable?: false;
};

/**
 * A live server that only writes its redo log: the rules by which Zimbra logs, rolls over, crashes and
 * recovers, with random content. It keeps what a replay must have executed.
 */
export class LiveServer {
	/** bytes of each log, by sequence; the last is redo.log */
	readonly logs: Buffer[] = [];
	/** transaction ids, in the order of their first commit record; stored blobs are not among them */
	readonly committed: { id: string; sequence: number; offset: number }[] = [];
	/** the body that each link stands for, by transaction id */
	readonly links = new Map<string, string>();
	readonly #draw: build.Draw;
	#open: Pending[] = [];
	#recent: Pending[] = [];
	#blobs: { path: string; body: string; at: number }[] = [];
	#counter = 0;
	#now = 1_795_443_900_000;

	readonly #longestDelivery: number;

	readonly #gaps: boolean;

	/**
	 * @param longestDelivery ms from a blob to the last link of it
	 * @param gaps it logs operations whose layout only Zimbra knows
	 */
	constructor(draw: build.Draw, longestDelivery: number, gaps = false) {
		this.#draw = draw;
		this.#gaps = gaps;
		this.#longestDelivery = longestDelivery;
		this.#newLog();
	}

	get sequence(): number {
		return this.logs.length - 1;
	}

	header(sequence: number): LogHeader {
		return build.headerFacts(
			sequence,
			this.logs[sequence]?.length ?? 0,
			sequence === this.sequence,
		);
	}

	/** The file as Zimbra leaves it when it is closed. */
	file(sequence: number): Buffer {
		const bytes = Buffer.from(this.logs[sequence] ?? Buffer.alloc(0));
		formatHeader({ ...this.header(sequence), open: false }).copy(bytes);
		return bytes;
	}

	/** One thing that happens on a server. */
	step(): void {
		this.#now += this.#draw(60_000);
		const choice = this.#draw(100);
		if (choice < 25) this.#start(this.#plain());
		else if (choice < 35) this.#start(this.#blob());
		else if (choice < 50) this.#start(this.#link());
		else if (choice < 84) this.#end(this.#draw(8) === 0);
		else if (choice < 92) this.rollover();
		else if (choice < 95) this.#start(this.#link(true));
		else this.crash();
	}

	#plain(): Pending {
		const counter = ++this.#counter;
		if (this.#gaps && this.#draw(3) === 0) {
			// A number without a public class, or a layout that is another one than ours.
			const opcode = [42, 46][this.#draw(2)] ?? 42;
			const payload = Buffer.from("text ZMREDO text".repeat(this.#draw(3)));
			return { counter, opcode, bytes: build.extension({ opcode, counter }, payload) };
		}
		const inside = build.commit({ opcode: 46, counter: this.#draw(counter + 1) });
		if (this.#draw(4) === 0)
			return { counter, opcode: 27, bytes: build.inlineMessage({ counter }, inside) };
		if (this.#draw(12) === 0) {
			// What Zimbra cannot read back: nobody can execute it.
			const odd = this.#draw(2) === 0;
			const bytes = odd
				? build.createLink({ counter }, this.#draw(400))
				: build.activeSync({ counter });
			return { counter, opcode: odd ? 35 : 91, bytes, executable: false };
		}
		return { counter, opcode: 46, bytes: build.setConfig({ counter }, `section ${counter}`) };
	}

	#blob(): Pending {
		const counter = ++this.#counter;
		// A path can be used again after a restart.
		const path = `/opt/zimbra/store/incoming/${this.#draw(12)}`;
		const body = `body ${counter} ZMREDO`;
		const bytes = build.storeIncomingBlob({ counter }, path, Buffer.from(body));
		return { counter, opcode: 26, bytes, path, body };
	}

	#link(old = false): Pending {
		const newest = new Map(this.#blobs.map((blob) => [blob.path, blob]));
		const choice = [...newest.values()].filter(
			({ path, at }) => !this.#inUse(path, 26) && this.#now - at <= this.#longestDelivery,
		);
		const blob = old ? choice[this.#draw(choice.length)] : choice.at(-1);
		if (blob === undefined) return this.#plain();
		const counter = ++this.#counter;
		const bytes = build.linkedMessage({ counter }, blob.path);
		return { counter, opcode: 27, bytes, path: blob.path, body: blob.body };
	}

	#start(pending: Pending): void {
		// No two deliveries use one path at a time.
		if (pending.opcode === 26 && this.#inUse(pending.path)) return;
		this.#open.push(pending);
		this.#append(pending.bytes);
	}

	/** Transaction ids of all change records in the logs. */
	changes(): string[] {
		return this.logs.flatMap((bytes) =>
			[...new LogWalk(bytesSource(bytes))]
				.filter(({ kind }) => kind === "change")
				.map(({ transaction }) => formatTransaction(transaction)),
		);
	}

	/** What the server would be if all that came later had been lost with the power. */
	snapshot(): () => void {
		const sequence = this.sequence;
		const log = this.logs.at(-1) ?? Buffer.alloc(0);
		const state = [[...this.#open], [...this.#recent], [...this.#blobs]] as const;
		const commits = this.committed.length;
		return () => {
			if (this.sequence !== sequence) throw new Error("rolled over meanwhile");
			this.logs[sequence] = log;
			this.#open = [...state[0]];
			this.#recent = [...state[1]];
			this.#blobs = [...state[2]];
			this.committed.length = commits;
		};
	}

	#inUse(path: string | undefined, opcode?: number): boolean {
		return this.#open.some(
			(one) => one.path === path && (opcode === undefined || one.opcode === opcode),
		);
	}

	#end(abort: boolean): void {
		const [pending] = this.#open.splice(this.#draw(this.#open.length), 1);
		if (pending === undefined) return;
		if (abort) this.#append(build.abort({ ...pending, timestamp: this.#now }));
		else this.#commit(pending);
	}

	#commit(pending: Pending): void {
		const again = this.#recent.includes(pending);
		const place = { sequence: this.sequence, offset: this.logs.at(-1)?.length ?? 0 };
		this.#append(build.commit({ ...pending, timestamp: this.#now }));
		if (again) return;
		this.#recent.push(pending);
		this.#recent = this.#recent.slice(-5);
		const id = `${build.startTime}.${pending.counter}`;
		if (pending.opcode === 26)
			this.#blobs.push({ path: pending.path ?? "", body: pending.body ?? "", at: this.#now });
		else if (pending.executable !== false) {
			this.committed.push({ id, ...place });
			if (pending.body !== undefined) this.links.set(id, pending.body);
		}
	}

	rollover(): void {
		if (this.#open.length > 0) this.#append(build.checkpoint(this.#open));
		this.#newLog();
		for (const { bytes } of this.#open) this.#append(bytes);
		this.#recent = [];
	}

	/**
	 * The process dies in the middle of a record, and starts: the torn tail is cut, what is open and what
	 * was committed shortly before is executed and committed (again); then it rolls over.
	 */
	crash(): void {
		for (const pending of [...this.#recent, ...this.#open])
			if (this.#draw(6) === 0) this.#append(build.abort({ ...pending, timestamp: this.#now }));
			else this.#commit(pending);
		this.#open = [];
		this.#recent = [];
		this.rollover();
	}

	#newLog(): void {
		this.logs.push(Buffer.alloc(headerSize));
	}

	#append(bytes: Buffer): void {
		const last = this.logs.length - 1;
		this.logs[last] = Buffer.concat([this.logs[last] ?? Buffer.alloc(0), bytes]);
	}
}
