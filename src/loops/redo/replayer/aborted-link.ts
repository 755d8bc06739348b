import { constants, gunzipSync } from "node:zlib";
import { readFields } from "../../../formats/redolog/read-fields.ts";
import type { LogRecord } from "../../../formats/redolog/record.ts";
import { LogWalk } from "../../../formats/redolog/walker.ts";
import type { Place } from "../../../formats/replay/replayed-position.ts";
import type { ReplayRange } from "../../../formats/replay/scan.ts";
import type { AbortedLink } from "../../../formats/replay/state.ts";

/** A mail's header lines are at its beginning. */
const headBytes = 64 * 1024;
const longest = 200;

/** What a person needs to find a message on the live server: for whom it was, and which it is. */
export function describeAbortedLink(
	logs: ReplayRange["logs"],
	{ id, mailboxId, linkPath, change, blob }: AbortedLink,
): Record<string, unknown> {
	const recipient = readRecord(logs, change)?.fields()["recipient"];
	const head = blob && readRecord(logs, blob)?.body();
	return {
		transaction: id,
		mailboxId,
		recipient: typeof recipient === "string" ? recipient.slice(0, longest) : undefined,
		messageId: head && headerLine(head, "Message-ID"),
		subject: head && headerLine(head, "Subject"),
		blob: linkPath,
	};
}

function readRecord(logs: ReplayRange["logs"], place: Place) {
	const source = logs.find(
		({ identity: { sequence, createTime } }) =>
			sequence === place.sequence && createTime === place.createTime,
	)?.source;
	if (source === undefined) return undefined;
	const to = place.offset + place.length;
	const record: LogRecord | undefined = new LogWalk(source, { from: place.offset, to }).next();
	if (record === undefined) return undefined;
	return {
		fields: () => readFields(source, record),
		body() {
			if (record.body === undefined) return undefined;
			const bytes = Buffer.alloc(Math.min(record.body.length, headBytes));
			source.read(bytes, record.body.offset);
			return plainText(bytes);
		},
	};
}

/** A blob may be gzipped, and only its beginning is here. */
function plainText(bytes: Buffer): string | undefined {
	if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes.toString("latin1");
	try {
		const finishFlush = constants.Z_SYNC_FLUSH;
		return gunzipSync(bytes, { finishFlush, maxOutputLength: 100 * headBytes }).toString("latin1");
	} catch {
		return undefined;
	}
}

function headerLine(mail: string, name: string): string | undefined {
	const [head = ""] = mail.split(/\r?\n\r?\n/, 1);
	const line = new RegExp(`^${name}:[ \\t]*(.*)$`, "im").exec(head)?.[1];
	return line?.replaceAll(/[^\x20-\x7e]/g, "?").slice(0, longest);
}
