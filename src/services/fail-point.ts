/**
 * Places at which a test lets the process die, as if the power had gone there. Inert unless
 * LIVE_SYNC_FAIL_AT names one: `ldap-swap:after-first-rename`, or `name#3` for the third time that
 * it is passed.
 */
const [wanted = "", nth = "1"] = (process.env.LIVE_SYNC_FAIL_AT ?? "").split("#");
let left = Number(nth);

export function failPoint(name: string): void {
	if (wanted === "" || name !== wanted) return;
	left -= 1;
	if (left > 0) return;
	process.kill(process.pid, "SIGKILL");
	// The signal is not always there by the next instruction, and nothing may follow.
	Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
}
