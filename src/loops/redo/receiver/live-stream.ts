import type { Duplex, Readable } from "node:stream";
import { createZstdDecompress } from "node:zlib";
import { explainNoAnswer, ownSentences } from "../../../formats/protocol/answers.ts";
import { FrameDecoder, GreetingReader } from "../../../formats/protocol/frames.ts";
import {
	decodeFromLive,
	encodeFromMirror,
	type FromLive,
	type FromMirror,
	type StreamRequest,
} from "../../../formats/protocol/messages.ts";
import { formatStreamRequest } from "../../../formats/protocol/request.ts";
import type { Settings } from "../../../formats/settings/table.ts";
import type { Logger } from "../../../services/log/logger.ts";
import type { PeerConfig } from "../../../services/peer-config.ts";
import { askedOf, connect } from "../../../services/ssh/connect.ts";

/** The mirror's end of the stream. */
export type LiveStream = AsyncDisposable & {
	/** the next message; throws when the live server is silent or gone */
	next(): Promise<FromLive>;
	send(message: FromMirror): void;
};

/** Asks a live server for the stream from a position. */
export type OpenStream = (
	request: StreamRequest,
	resume: Extract<FromMirror, { kind: "resume" }>,
	signal: AbortSignal,
) => Promise<LiveStream>;

/** Connects over ssh and asks there. */
export async function openStream(
	config: PeerConfig,
	log: Logger,
	...[request, resume, signal]: Parameters<OpenStream>
): Promise<LiveStream> {
	const link = await connect(config, signal);
	try {
		const channel = await link.exec(formatStreamRequest(request));
		const said = { stderr: "" };
		channel.stderr.setEncoding("utf8").on("data", (text: string) => {
			said.stderr = (said.stderr + text).slice(-2000);
		});
		const beside: Beside = {
			complaint: () => ownSentences(said.stderr).join("; "),
			unanswered: (stdout) => explainNoAnswer(askedOf(config), "stream", { ...said, stdout }),
		};
		const stream = speakOver(channel, resume, config.settings, log, signal, beside);
		return {
			...stream,
			async [Symbol.asyncDispose]() {
				await stream[Symbol.asyncDispose]();
				link.close();
				await link.closed;
			},
		};
	} catch (error) {
		link.close();
		throw error;
	}
}

/** What is known of the live side beside the stream. */
type Beside = {
	/** what its program has complained of */
	readonly complaint: () => string;
	/** why no stream began, by what came in its place */
	readonly unanswered: (said: string) => Error;
};

/** The mirror's end of the stream over any two-way channel. */
export function speakOver(
	channel: Duplex,
	resume: Extract<FromMirror, { kind: "resume" }>,
	settings: Pick<Settings, "connect_timeout" | "link_timeout">,
	log: Logger,
	signal: AbortSignal,
	beside?: Beside,
): LiveStream {
	channel.on("error", () => channel.destroy());
	channel.write(encodeFromMirror(resume));
	// Any byte tells that the other side lives: over a slow line a message may take long.
	let heardAt = performance.now();
	const onBytes = () => {
		heardAt = performance.now();
	};
	const messages = decode(channel, log, onBytes, beside?.unanswered);
	// The other side's program has to start before its first word.
	let patienceMs = settings.connect_timeout;
	return {
		async next() {
			// While we did not listen, nothing could be heard.
			heardAt = performance.now();
			const silentMs = () => performance.now() - heardAt;
			const result = await unlessSilent(messages.next(), silentMs, patienceMs, signal);
			patienceMs = settings.link_timeout;
			if (!result.done) return result.value;
			const said = beside?.complaint() ?? "";
			throw new Error(`the live server closed the stream${said === "" ? "" : `: ${said}`}`);
		},
		send(message) {
			// What a slow peer does not take is told again by the next message.
			if (channel.writable && !channel.writableNeedDrain) channel.write(encodeFromMirror(message));
		},
		async [Symbol.asyncDispose]() {
			channel.destroy();
		},
	};
}

async function* decode(
	channel: Duplex,
	log: Logger,
	onBytes: () => void,
	unanswered: Beside["unanswered"] | undefined,
): AsyncGenerator<FromLive, undefined> {
	const reader = new GreetingReader();
	const raw = listen(channel, onBytes);
	let greeting: ReturnType<GreetingReader["push"]>;
	while (greeting === undefined) {
		const piece = await raw.next();
		if (piece.done === true) throw unanswered?.(reader.said) ?? new Error(reader.complaint());
		greeting = reader.push(piece.value);
	}
	if (greeting.noise !== "") {
		log.warn({ noise: greeting.noise }, "the live server's shell prints before the stream begins");
	}
	const frames = new FrameDecoder();
	for await (const bytes of decompress(greeting.compression, greeting.rest, raw)) {
		for (const frame of frames.push(bytes)) yield decodeFromLive(frame);
	}
	return undefined;
}

async function* listen(channel: Duplex, onBytes: () => void): AsyncGenerator<Buffer, undefined> {
	for await (const bytes of channel as AsyncIterable<Buffer>) {
		onBytes();
		yield bytes;
	}
	return undefined;
}

async function* decompress(
	compression: string,
	first: Buffer,
	raw: AsyncIterator<Buffer>,
): AsyncGenerator<Buffer> {
	if (compression === "none") {
		yield first;
		for (let piece = await raw.next(); piece.done !== true; piece = await raw.next()) {
			yield piece.value;
		}
		return;
	}
	// Each piece is handed to another thread and back: no more of them than packets of ssh.
	const zstd = createZstdDecompress({ chunkSize: 256 * 1024 });
	void feed(zstd, first, raw);
	yield* zstd as Readable as AsyncIterable<Buffer>;
}

/** Hands the pieces on one by one: what the receiver does not take stays in the ssh window. */
async function feed(
	zstd: ReturnType<typeof createZstdDecompress>,
	first: Buffer,
	raw: AsyncIterator<Buffer>,
): Promise<void> {
	const write = (bytes: Buffer) =>
		new Promise<void>((resolve, reject) => {
			zstd.write(bytes, (error) => (error ? reject(error) : resolve()));
		});
	try {
		await write(first);
		for (let piece = await raw.next(); piece.done !== true; piece = await raw.next()) {
			await write(piece.value);
		}
		// Not end(): the compressed stream has no end, the link is cut somewhere in it. What was whole
		// is still to be read.
		zstd.push(null);
	} catch (error) {
		zstd.destroy(error instanceof Error ? error : new Error(String(error)));
	}
}

/** The value of a promise, or an Error when nothing was heard for too long, or the signal aborts. */
async function unlessSilent<T>(
	promise: Promise<T>,
	silentMs: () => number,
	patienceMs: number,
	signal: AbortSignal,
): Promise<T> {
	promise.catch(() => undefined);
	signal.throwIfAborted();
	const { promise: interrupted, reject } = Promise.withResolvers<never>();
	const silence = new Error(`nothing was heard from the live server for ${patienceMs / 1000} s`);
	const look = () => {
		const leftMs = patienceMs - silentMs();
		if (leftMs <= 0) reject(silence);
		else timer = setTimeout(look, leftMs);
	};
	let timer = setTimeout(look, patienceMs);
	const abort = () => reject(signal.reason);
	signal.addEventListener("abort", abort, { once: true });
	try {
		return await Promise.race([promise, interrupted]);
	} finally {
		clearTimeout(timer);
		signal.removeEventListener("abort", abort);
	}
}
