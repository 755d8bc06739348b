/**
 * Places at which a test lets a service die: the process gets SIGKILL between one system call and the
 * next. `after` counts how often the place is passed before.
 */
export type CrashPoint = { readonly at: string; readonly after?: number };

let armed: { at: string; left: number } | undefined;

export function arm(point: CrashPoint | undefined): void {
	armed = point === undefined ? undefined : { at: point.at, left: point.after ?? 0 };
}

/** Ends this process if a test wants it to end here. */
export function die(here: string): void {
	if (armed === undefined || armed.at !== here || armed.left-- > 0) return;
	process.kill(process.pid, "SIGKILL");
	Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0); // not one instruction more
}
