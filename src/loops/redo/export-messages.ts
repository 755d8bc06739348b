import { open } from "node:fs/promises";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { readFields } from "../../formats/redolog/read-fields.ts";
import { type Body, formatTransaction, type LogRecord } from "../../formats/redolog/record.ts";
import { LogWalk } from "../../formats/redolog/walker.ts";
import { makeDirectory, readAt, writeDurably } from "../../services/files.ts";
import { fileSource } from "../../services/redolog/log-files.ts";

export type Exported = {
	readonly directory: string;
	/** operations of the lot, the exported messages among them */
	readonly operations: number;
	readonly messages: number;
	/** messages that could not be read, or more where not all of the lot can be */
	readonly unread: number;
};

/** CreateMessage, SaveDraft, CreateChat, SaveChat */
const messages = new Set([27, 28, 63, 64]);

/**
 * Writes the messages of a lot of kept operations as files that any mail program reads, into messages/
 * beside it, and what a file cannot tell into messages.tsv: whose they are, which folder, when they came.
 */
export async function exportMessages(directory: string, operations: number): Promise<Exported> {
	const into = join(directory, "messages");
	await makeDirectory(into);
	await using log = await open(join(directory, "redo.log"), "r");
	const source = fileSource(log.fd);
	const blobs = new Map<string, Body>();
	const lines = ["file\tmailbox\trecipient\tfolder\titem\treceived\ttransaction\n"];
	const contentOf = async (record: LogRecord): Promise<Buffer | undefined> => {
		const body = record.body ?? blobs.get(record.linkPath ?? "");
		return body && plain(await readAt(log, body.offset, body.length));
	};
	let unread = 0;
	const walk = new LogWalk(source);
	for (const record of walk) {
		if (record.blobPath !== undefined && record.body !== undefined) {
			blobs.set(record.blobPath, record.body);
		}
		if (record.kind !== "change" || !messages.has(record.opcode)) continue;
		const content = await contentOf(record);
		if (content === undefined) {
			unread++;
			continue;
		}
		const { recipient, folder, id, received } = readFields(source, record);
		const name = `${lines.length}-mailbox${record.mailboxId}-item${Number(id)}.eml`;
		await writeDurably(join(into, name), content);
		const at = new Date(Number(received) || record.timestamp).toISOString();
		const transaction = formatTransaction(record.transaction);
		lines.push(
			`messages/${name}\t${record.mailboxId}\t${recipient ?? ""}\t${Number(folder)}\t${Number(id)}\t${at}\t${transaction}\n`,
		);
	}
	await writeDurably(join(directory, "messages.tsv"), lines.join(""));
	// What stands behind is in redo.log only.
	if (walk.end?.kind !== "clean") unread++;
	return { directory, operations, messages: lines.length - 1, unread };
}

/** A volume that compresses its files has them so in the log too. */
function plain(content: Buffer): Buffer {
	if (content[0] !== 0x1f || content[1] !== 0x8b) return content;
	try {
		return gunzipSync(content);
	} catch {
		return content;
	}
}
