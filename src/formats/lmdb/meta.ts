import { Buffer } from "node:buffer";

/**
 * The two meta pages at the beginning of an LMDB data file. Every commit writes one of them, in
 * turns, so the larger transaction id is the state that a reader would see.
 * Source: OpenLDAP, libraries/liblmdb/mdb.c (MDB_page, MDB_meta), data version 1, and data files of
 * slapd 2.5 compared with `mdb_stat -e`. All fields are in the byte order of the host.
 *
 *     0   8  page number              32  8   map size
 *     10  2  flags, 8 = meta page     40  4   page size (of the free list's record)
 *     16  4  magic                    136 8   last page in use
 *     20  4  version                  144 8   transaction id
 */
export type LmdbMeta = {
	readonly version: number;
	readonly transactionId: number;
	readonly pageSize: number;
	/** bytes that the file may grow to; a writable map makes it that large, as holes */
	readonly mapSize: number;
	/** number of the last page in use: what lies behind it is no data */
	readonly lastPage: number;
};

/** Bytes of each meta page that {@link parseMeta} looks at. */
export const metaBytes = 152;

/** Where the second meta page begins is told by the first; nearly always 4096. */
export const pageSizeOffset = 40;

const magic = 0xbeef_c0de;
const metaFlag = 0x08;

/**
 * The newer of the two meta pages. A page that is none (half written, or of another format) is
 * passed over; undefined where neither is one.
 */
export function parseMeta(page0: Uint8Array, page1: Uint8Array): LmdbMeta | undefined {
	const pages = [parsePage(page0), parsePage(page1)].filter((page) => page !== undefined);
	return pages.toSorted((a, b) => b.transactionId - a.transactionId)[0];
}

function parsePage(bytes: Uint8Array): LmdbMeta | undefined {
	if (bytes.length < metaBytes) return undefined;
	const view = Buffer.from(bytes.buffer, bytes.byteOffset, metaBytes);
	if ((view.readUInt16LE(10) & metaFlag) === 0 || view.readUInt32LE(16) !== magic) return undefined;
	return {
		version: view.readUInt32LE(20),
		mapSize: Number(view.readBigUInt64LE(32)),
		pageSize: view.readUInt32LE(pageSizeOffset),
		lastPage: Number(view.readBigUInt64LE(136)),
		transactionId: Number(view.readBigUInt64LE(144)),
	};
}
