const graceMs = 60_000;

/**
 * For a program that has printed its result and only has to clean up. One that does not end would be
 * waited for without end, so it says what keeps it, and ends with 1.
 */
export function endsSoon(): void {
	setTimeout(() => {
		const kept = process.getActiveResourcesInfo().join(", ");
		process.stderr.write(`all is done, but the process does not end; kept by: ${kept}\n`);
		process.exit(1);
	}, graceMs).unref();
}
