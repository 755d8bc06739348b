import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { duplexPair, Writable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { pino } from "pino";
import { Refusal } from "../../../src/errors.ts";
import type { FromLive, LogPosition } from "../../../src/formats/protocol/messages.ts";
import { parseSettings } from "../../../src/formats/settings/parse.ts";
import type { OpenStream } from "../../../src/loops/redo/receiver/live-stream.ts";
import { speakOver } from "../../../src/loops/redo/receiver/live-stream.ts";
import { receiveOnce } from "../../../src/loops/redo/receiver/receive.ts";
import type { ReceiverEvents } from "../../../src/loops/redo/receiver/receiver.ts";
import { RedoStatus } from "../../../src/loops/redo/redo-status.ts";
import { serveStream } from "../../../src/loops/sender/serve-stream.ts";
import { basePaths, zimbraPaths } from "../../../src/services/paths.ts";
import type { PeerConfig } from "../../../src/services/peer-config.ts";

/** What goes wrong with one connection. */
export type LinkFault = {
	/** the link breaks after so many bytes from the live side */
	readonly cutAfter?: number;
};

/**
 * The two ends of the stream in one process, each on a redolog directory of its own, with a link of
 * memory between them: everything but ssh is real.
 */
export class StreamPair implements AsyncDisposable {
	readonly directory = mkdtempSync(join(tmpdir(), "live-sync-stream-"));
	readonly live = makeConfig(join(this.directory, "live"));
	mirror = makeConfig(join(this.directory, "mirror"));
	/** bytes of log content sent by the live side, by log and offset */
	readonly sent: { sequence: number; offset: number; length: number }[] = [];
	readonly flushed: LogPosition[] = [];
	readonly verified: string[] = [];
	readonly problems: unknown[] = [];
	/** what each connection asked for, and what had been acknowledged before */
	readonly asked: { position: LogPosition; flushed: LogPosition | undefined }[] = [];
	connections = 0;
	/** number of the live server's history; the mirror follows the first */
	liveTimeline = 1;
	readonly status = new RedoStatus("memory", 5000, pino({ level: "silent" }));
	/** what the replayer does when the live server has cut its log */
	onCut: ReceiverEvents["onCut"] = async () => undefined;
	/** something that the live side says beside what it says by itself; once */
	interjection: FromLive | undefined;
	onFlushed: (position: LogPosition) => void = () => undefined;
	/** when the mirror has looked at its own log and is about to ask */
	onAsk: () => void = () => undefined;
	/** the link works: once for each sign of it */
	onHealthy: () => void = () => undefined;
	#faults: LinkFault[] = [];
	#ended: AbortController | undefined;
	#running: Promise<void> | undefined;

	/** The next connections get these faults, one each; those after them get none. */
	break(...faults: LinkFault[]): void {
		this.#faults.push(...faults);
	}

	/** Begins to follow, with attempts 1 ms apart, until {@link stop}. */
	start(): void {
		const ended = new AbortController();
		this.#ended = ended;
		this.#running = this.#follow(ended.signal);
	}

	async stop(): Promise<void> {
		this.#ended?.abort(new Error("stop"));
		await this.#running;
	}

	/** Waits until the follower gives up, and says why. */
	async refusal(timeoutMs = 120_000): Promise<Refusal> {
		const patience = new AbortController();
		const { signal } = patience;
		await Promise.race([this.#running, sleep(timeoutMs, undefined, { signal })]);
		patience.abort();
		const last = this.problems.at(-1);
		if (last instanceof Refusal) return last;
		throw new Error(`no refusal but ${String(last)}`);
	}

	/** Both directories have the same files with the same bytes. */
	async caughtUp(timeoutMs = 120_000): Promise<void> {
		const deadline = performance.now() + timeoutMs;
		while (!sameFiles(this.live, this.mirror)) {
			if (performance.now() > deadline) {
				throw new Error(
					`not caught up: ${describe(this.live)} / ${describe(this.mirror)}; ${this.problems.map(String).slice(-3).join("; ")}`,
				);
			}
			await sleep(5);
		}
	}

	/**
	 * The mirror loses power now: what is found at the next start is what was on disk, and of bytes
	 * never fsynced whatever `damage` makes of them.
	 */
	async losePower(damage: (mirror: PeerConfig) => Promise<void>): Promise<void> {
		const image = makeConfig(join(this.directory, `mirror-${this.connections}-${Date.now()}`));
		// The record first: the log can only be newer than it, as on a disk.
		const { redolog } = this.mirror.zimbra;
		for (const name of [".live_sync", "redo.log", "archive"]) {
			copyIfThere(join(redolog, name), join(image.zimbra.redolog, name));
		}
		await this.stop();
		this.mirror = image;
		await damage(image);
	}

	async [Symbol.asyncDispose](): Promise<void> {
		await this.stop();
		rmSync(this.directory, { recursive: true, force: true });
	}

	async #follow(signal: AbortSignal): Promise<void> {
		const log = pino({ level: "silent" });
		while (!signal.aborted) {
			try {
				await receiveOnce({
					config: this.mirror,
					timeline: 1,
					status: this.status,
					events: {
						onFlushed: (position) => {
							this.flushed.push(position);
							this.onFlushed(position);
						},
						onVerified: (name) => this.verified.push(name),
						onCut: (...cut) => this.onCut(...cut),
					},
					log,
					signal,
					open: this.#open(),
					healthy: () => this.onHealthy(),
				});
			} catch (error) {
				if (signal.aborted) return;
				this.problems.push(error);
				if (error instanceof Refusal) return;
			}
			await sleep(1);
		}
	}

	#open(): OpenStream {
		return async (request, resume, signal) => {
			this.onAsk();
			const fault = this.#faults.shift() ?? {};
			this.connections++;
			this.asked.push({ position: request.position, flushed: this.flushed.at(-1) });
			const [liveSide, mirrorSide] = duplexPair();
			const cut = () => {
				liveSide.destroy();
				mirrorSide.destroy();
			};
			let left = fault.cutAfter ?? Number.POSITIVE_INFINITY;
			const output = new Writable({
				write(chunk: Buffer, _, done) {
					const piece = chunk.subarray(0, left);
					left -= piece.length;
					if (!liveSide.destroyed) liveSide.write(piece, () => done());
					else done();
					if (left <= 0) setImmediate(cut);
				},
			});
			for (const side of [liveSide, mirrorSide]) side.on("error", () => undefined);
			liveSide.on("close", () => output.destroy());
			output.on("error", () => undefined);
			const { config } = { config: this.live };
			const served = serveStream(
				request,
				{ config, timeline: this.liveTimeline, onReplayed: () => undefined },
				liveSide,
				output,
			).catch((error: unknown) => this.problems.push(error));
			void served.then(() => {
				// As sshd does when the command has ended: what was written arrives, then the end.
				output.end();
				setTimeout(cut, 50);
			});
			const stream = speakOver(
				mirrorSide,
				resume,
				this.mirror.settings,
				pino({ level: "silent" }),
				signal,
			);
			const note = (sequence: number, offset: number, length: number) =>
				this.sent.push({ sequence, offset, length });
			let sequence = request.position.sequence;
			return {
				...stream,
				next: async () => {
					const interjection = this.interjection;
					this.interjection = undefined;
					const message = interjection ?? (await stream.next());
					if (message.kind === "file") sequence = message.identity.sequence;
					if (message.kind === "data") note(sequence, message.offset, message.bytes.length);
					return message;
				},
				async [Symbol.asyncDispose]() {
					cut();
					await stream[Symbol.asyncDispose]();
					await served;
				},
			};
		};
	}
}

function makeConfig(home: string): PeerConfig {
	const base = basePaths(join(home, "live_sync"));
	mkdirSync(join(home, "redolog/archive"), { recursive: true });
	mkdirSync(join(base.base, "status"), { recursive: true });
	const { settings } = parseSettings(
		`server1="127.0.0.1"\nserver2="127.0.0.2"\nzimbra_home="${home}"\nheartbeat_interval="100ms"\nlink_timeout="1m"\n`,
		{ base_dir: base.base },
	);
	if (settings === undefined) throw new Error("the settings of the test are wrong");
	return {
		settings,
		base,
		zimbra: zimbraPaths(home),
		localAddress: "127.0.0.2",
		remoteAddress: "127.0.0.1",
	};
}

/** Content of redo.log and the archive, by name. */
export function logFiles({ zimbra }: PeerConfig): Map<string, Buffer> {
	const files = new Map<string, Buffer>();
	for (const name of readdirSync(zimbra.archive)) {
		files.set(name, readFileSync(join(zimbra.archive, name)));
	}
	for (const name of readdirSync(zimbra.redolog)) {
		if (name === "redo.log") files.set(name, readFileSync(zimbra.currentLog));
	}
	return files;
}

function sameFiles(one: PeerConfig, other: PeerConfig): boolean {
	try {
		const [a, b] = [logFiles(one), logFiles(other)];
		return a.size === b.size && [...a].every(([name, bytes]) => b.get(name)?.equals(bytes));
	} catch {
		return false; // a rollover took a file away between the two looks
	}
}

const describe = (config: PeerConfig): string =>
	[...logFiles(config)].map(([name, bytes]) => `${name} ${bytes.length}`).join(", ");

function copyIfThere(from: string, to: string): void {
	try {
		cpSync(from, to, { recursive: true });
	} catch {
		// Not there at this moment.
	}
}
