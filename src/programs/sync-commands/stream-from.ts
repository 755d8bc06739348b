import { join } from "node:path";
import { formatMirrorRecord, mirrorRecordName } from "../../formats/protocol/mirror-record.ts";
import { serveStream } from "../../loops/sender/serve-stream.ts";
import { now } from "../../services/clock.ts";
import { makeDirectory, writeDurably } from "../../services/files.ts";
import { readRole } from "../../services/role.ts";
import type { Serve } from "./context.ts";
import { output } from "./output.ts";

/**
 * The redo log from the mirror's position, without end. What the mirror says it has replayed is kept,
 * since `purge` may remove nothing that a mirror still needs.
 */
export const serve: Serve<"stream_from"> = async ({ stream }, { config, input, signal, log }) => {
	const { mirror } = stream;
	const directory = config.base.mirrors;
	const record = join(directory, mirrorRecordName(mirror));
	let pending: Parameters<typeof formatMirrorRecord>[0] | undefined;
	let writing: Promise<void> | undefined;
	// One write at a time, always of the newest: a slow disk must not hold up the stream.
	const keep = async () => {
		while (pending !== undefined) {
			const next = pending;
			pending = undefined;
			try {
				await makeDirectory(directory);
				await writeDurably(record, formatMirrorRecord(next));
			} catch (error) {
				log("error", "what a mirror has replayed could not be kept", {
					file: record,
					reason: String(error),
				});
			}
		}
		writing = undefined;
	};
	const { timeline } = await readRole(config.base.role);
	const client = output();
	signal.addEventListener("abort", () => client.destroy());
	const reason = await serveStream(
		stream,
		{
			config,
			timeline,
			onReplayed(replayed) {
				pending = { version: 1, mirror, replayed, at: now() };
				writing ??= keep();
			},
		},
		input(),
		client,
	);
	await writing;
	log("info", "stream ended", { mirror, reason });
	return 0;
};
