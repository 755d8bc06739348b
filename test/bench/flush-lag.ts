import { fork } from "node:child_process";
import { once } from "node:events";
import { watch } from "node:fs";
import { basename, dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Pair } from "../pair/pair.ts";
import { until } from "../pair/until.ts";
import type { Mark } from "./append.ts";
import { builtPair, FlushedPosition, noReplay, sizeOf, startMirror } from "./mirror.ts";
import { clock, type Say, type Size, spread } from "./numbers.ts";
import { PlainSsh } from "./plain-ssh.ts";

const mailBytes = 4000;

/**
 * From the write of a mail's record to the live redo.log until it is on the mirror: there, and there on
 * disk. A plain `tail -f` over ssh follows the same file at the same time; nothing fsyncs what it wrote.
 */
export async function benchFlushLag(size: Size, say: Say): Promise<void> {
	await using pair = await builtPair({ settings: noReplay });
	const { a } = pair;
	await startMirror(pair);
	const tailed = join(pair.directory, "tailed");
	const tail = PlainSsh.make(pair).into(tailed, `exec tail -c +0 -f ${a.path("redolog/redo.log")}`);
	await until("tail runs", () => sizeOf(tailed) > 0);
	say(`flush lag, ms, mails of ${mailBytes} bytes, at random moments:`);
	for (const rate of [5, 50, 500]) {
		const seconds = Math.min(size === "quick" ? 3 : 20, 3000 / rate);
		const lags = await measure(pair, tailed, { rate, seconds });
		say(`  ${rate} mails/s, ${lags.flushed.length} mails`);
		say(`    mirror, written and fsynced   ${spread(lags.flushed)}`);
		say(`    mirror, written               ${spread(lags.written)}`);
		say(`    ssh tail -f, written          ${spread(lags.tailed)}`);
		await sleep(500);
	}
	tail.kill();
}

type Lags = Record<"flushed" | "written" | "tailed", number[]>;

async function measure(
	pair: Pair,
	tailed: string,
	{ rate, seconds }: { rate: number; seconds: number },
): Promise<Lags> {
	const { a, b } = pair;
	using position = new FlushedPosition(pair);
	const received = b.path("redolog/redo.log");
	const marks: Mark[] = [];
	using flushed = new Arrivals(position.path, () => position.get());
	using written = new Arrivals(received, () => sizeOf(received));
	using plain = new Arrivals(tailed, () => sizeOf(tailed));
	const words = [rate, seconds, mailBytes].map(String);
	const writer = fork(join(import.meta.dirname, "append.ts"), [
		a.path("redolog/redo.log"),
		...words,
	]);
	writer.on("message", (mark: Mark) => marks.push(mark));
	await once(writer, "exit");
	const end = marks.at(-1)?.offset ?? 0;
	await until("all has come", () => [flushed, written, plain].every((each) => each.reached(end)));
	const lags = (arrivals: Arrivals) => marks.map((mark) => arrivals.whenHad(mark.offset) - mark.at);
	return { flushed: lags(flushed), written: lags(written), tailed: lags(plain) };
}

/** When a file had come how far, told by file events. */
class Arrivals implements Disposable {
	readonly #seen: { size: number; at: number }[] = [];
	readonly #close: () => void;
	readonly #size: () => number;

	constructor(path: string, size: () => number) {
		this.#size = size;
		const name = basename(path);
		const watcher = watch(dirname(path), (_, changed) => {
			if (changed === name) this.#look();
		});
		this.#close = () => watcher.close();
	}

	reached(size: number): boolean {
		this.#look();
		return (this.#seen.at(-1)?.size ?? 0) >= size;
	}

	whenHad(size: number): number {
		return this.#seen.find((each) => each.size >= size)?.at ?? Number.NaN;
	}

	#look(): void {
		const at = clock();
		const size = this.#size();
		if (size !== this.#seen.at(-1)?.size) this.#seen.push({ size, at });
	}

	[Symbol.dispose](): void {
		this.#close();
	}
}
