import { Buffer } from "node:buffer";
import { latestMinor } from "./record.ts";

/** The first 512 bytes of a log, as com.zimbra.cs.redolog.logger.FileHeader writes them. */
export const headerLength = 512;

export type Header = {
	open: boolean;
	fileSize: number;
	sequence: number;
	serverId: string;
	firstTime: number;
	lastTime: number;
	minor: number;
	createTime: number;
};

export function encodeHeader(header: Header): Buffer {
	const bytes = Buffer.alloc(headerLength);
	let at = bytes.write("ZM_REDO", "latin1");
	at = bytes.writeUInt8(header.open ? 1 : 0, at);
	at = bytes.writeBigInt64BE(BigInt(header.fileSize), at);
	at = bytes.writeBigInt64BE(BigInt(header.sequence), at);
	at = bytes.writeUInt8(Buffer.byteLength(header.serverId), at);
	bytes.write(header.serverId, at);
	at += 127;
	at = bytes.writeBigInt64BE(BigInt(header.firstTime), at);
	at = bytes.writeBigInt64BE(BigInt(header.lastTime), at);
	at = bytes.writeInt16BE(1, at);
	at = bytes.writeInt16BE(latestMinor, at); // whatever was read before: FileHeader.write
	bytes.writeBigInt64BE(BigInt(header.createTime), at);
	return bytes;
}

/** Throws what makes zmplayredo and mailboxd give up on a log before anything is executed. */
export function decodeHeader(bytes: Buffer): Header {
	if (bytes.length < headerLength)
		throw new Error(`Redolog is smaller than header length of ${headerLength} bytes`);
	if (bytes.toString("latin1", 0, 7) !== "ZM_REDO")
		throw new Error("Missing magic bytes in redolog header");
	const idLength = bytes.readInt8(24);
	if (idLength > 127) throw new Error(`ServerId too long (${idLength} bytes) in redolog header`);
	const [major, minor] = [bytes.readInt16BE(168), bytes.readInt16BE(170)];
	if (major > 1 || (major === 1 && minor > latestMinor))
		throw new Error(
			`Redo log version ${major}.${minor} is higher than the highest known version 1.${latestMinor}`,
		);
	return {
		open: bytes[7] !== 0,
		fileSize: Number(bytes.readBigInt64BE(8)),
		sequence: Number(bytes.readBigInt64BE(16)),
		serverId: bytes.toString("utf8", 25, 25 + idLength),
		firstTime: Number(bytes.readBigInt64BE(152)),
		lastTime: Number(bytes.readBigInt64BE(160)),
		minor,
		createTime: Number(bytes.readBigInt64BE(172)),
	};
}
