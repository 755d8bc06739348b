import { Buffer } from "node:buffer";

/**
 * The first 512 bytes of a redo log file, big endian, rewritten in place by Zimbra at open, with the
 * first operation, at close and when recovery cuts the file.
 * Source: zm-mailbox, com.zimbra.cs.redolog.logger.FileHeader, and headers written by it.
 *
 *     0  7  "ZM_REDO"          24  1    length of the server id    160 8  time of the last operation
 *     7  1  open               25  127  server id, UTF-8, zeros    168 2+2 version major, minor
 *     8  8  size at close      152 8    time of the first          172 8  create time
 *     16 8  sequence                    operation                  180    zeros
 */
export const headerSize = 512;

const magic = "ZM_REDO";
const serverIdRoom = 127;

export type LogHeader = {
	/** true while Zimbra has the file open, and after it died with the file open */
	readonly open: boolean;
	/** bytes, at the last close; stale while open */
	readonly fileSize: number;
	readonly sequence: number;
	/** the zimbraId of the server, the same on a clone */
	readonly serverId: string;
	/** ms since the epoch, 0 if there was none; may lie before `createTime` */
	readonly firstOperationTime: number;
	/** ms since the epoch; stale while open */
	readonly lastOperationTime: number;
	readonly version: { readonly major: number; readonly minor: number };
	/** ms since the epoch */
	readonly createTime: number;
};

/** The header that stands in the first 512 bytes, or undefined where they are no such header. */
export function parseHeader(bytes: Uint8Array): LogHeader | undefined {
	if (bytes.length < headerSize) return undefined;
	const view = Buffer.from(bytes.buffer, bytes.byteOffset, headerSize);
	if (view.toString("latin1", 0, 7) !== magic) return undefined;
	const idLength = view.readUInt8(24);
	if (idLength > serverIdRoom) return undefined;
	return {
		open: view.readUInt8(7) !== 0,
		fileSize: Number(view.readBigInt64BE(8)),
		sequence: Number(view.readBigInt64BE(16)),
		serverId: view.toString("utf8", 25, 25 + idLength),
		firstOperationTime: Number(view.readBigInt64BE(152)),
		lastOperationTime: Number(view.readBigInt64BE(160)),
		version: { major: view.readInt16BE(168), minor: view.readInt16BE(170) },
		createTime: Number(view.readBigInt64BE(172)),
	};
}

/** The 512 bytes of a header. Throws a RangeError for a server id that does not fit. */
export function formatHeader(header: LogHeader): Buffer {
	const bytes = Buffer.alloc(headerSize);
	bytes.write(magic, 0, "latin1");
	bytes.writeUInt8(header.open ? 1 : 0, 7);
	bytes.writeBigInt64BE(BigInt(header.fileSize), 8);
	bytes.writeBigInt64BE(BigInt(header.sequence), 16);
	const id = Buffer.from(header.serverId, "utf8");
	if (id.length > serverIdRoom) throw new RangeError(`server id of ${id.length} bytes`);
	bytes.writeUInt8(id.length, 24);
	id.copy(bytes, 25);
	bytes.writeBigInt64BE(BigInt(header.firstOperationTime), 152);
	bytes.writeBigInt64BE(BigInt(header.lastOperationTime), 160);
	bytes.writeInt16BE(header.version.major, 168);
	bytes.writeInt16BE(header.version.minor, 170);
	bytes.writeBigInt64BE(BigInt(header.createTime), 172);
	return bytes;
}
