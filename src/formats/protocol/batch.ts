/**
 * Bytes in one data frame. Large ones take fewer steps from thread to thread; over a slow line they
 * stay small, since a frame that the link breaks in is sent again from its start, and a heartbeat
 * waits behind it.
 */
export const batches = { smallest: 256 * 1024, largest: 1 << 20 };

/** A line that takes a frame in this time is fast. */
const fastMs = 50;

/** The size of the next frame. @param tookMs until the line had room again after the last one */
export const nextBatch = (last: number, tookMs: number): number =>
	tookMs < fastMs ? Math.min(2 * last, batches.largest) : batches.smallest;
