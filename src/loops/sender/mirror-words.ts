import type { Readable } from "node:stream";
import { FrameDecoder } from "../../formats/protocol/frames.ts";
import { decodeFromMirror, type FromMirror } from "../../formats/protocol/messages.ts";

type Resume = Extract<FromMirror, { kind: "resume" }>;
type Progress = Extract<FromMirror, { kind: "progress" }>;

export type MirrorWords = {
	/** the first word of the mirror */
	readonly resume: Promise<Resume>;
};

/**
 * Listens to the mirror. When it has said nothing for `timeoutMs`, has closed its end, or says
 * what no mirror says, `onGone` is called once: a forced command that does not notice that by
 * itself lives for ever (sshd does not end it).
 */
export function listenToMirror(
	input: Readable,
	timeoutMs: number,
	onProgress: (progress: Progress) => void,
	onGone: (reason: Error) => void,
): MirrorWords {
	const decoder = new FrameDecoder();
	const { promise: resume, resolve, reject } = Promise.withResolvers<Resume>();
	resume.catch(() => undefined);
	const gone = (reason: Error) => {
		clearTimeout(silence);
		reject(reason);
		onGone(reason);
	};
	const silent = () => gone(new Error(`the mirror has been silent for ${timeoutMs} ms`));
	const silence = setTimeout(silent, timeoutMs);
	input.on("data", (bytes: Buffer) => {
		silence.refresh();
		try {
			for (const frame of decoder.push(bytes)) {
				const message = decodeFromMirror(frame);
				if (message.kind === "resume") resolve(message);
				else onProgress(message);
			}
		} catch (error) {
			gone(new Error("the mirror does not speak this protocol", { cause: error }));
		}
	});
	input.once("end", () => gone(new Error("the mirror has closed the stream")));
	input.once("error", (error) => gone(error));
	return { resume };
}
