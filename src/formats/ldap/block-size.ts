/** LMDB's page, the least that changes. */
const page = 4096;
/** Larger ones are refused by rsync (its MAX_BLOCK_SIZE). */
const largest = 131_072;

/** Bytes that rsync's receiver sends for each block: a rolling checksum and part of a strong one. */
const checksumBytes = 7;
/** Pages that differ after one small write: measured 5 to 46, by how many indexes it touches. */
const pagesPerTransaction = 16;
/** What compression leaves of an LDAP page, about. */
const compressed = 1 / 3;

/**
 * The block size with which an rsync of a snapshot sends least, both ways together: small blocks cost
 * checksums of the whole file, large ones drag along what did not change. After few transactions the
 * checksums would be nearly all that is sent, after many the pages are.
 */
export function blockSize(fileBytes: number, transactions: number): number {
	const differing = Math.max(1, transactions) * pagesPerTransaction * compressed;
	const best = Math.sqrt((checksumBytes * fileBytes) / differing);
	return Math.min(largest, Math.max(page, Math.round(best / page) * page));
}
