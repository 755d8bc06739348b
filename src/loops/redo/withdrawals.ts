import { Refusal } from "../../errors.ts";

const withdrawals = new Set(["divergence", "log-altered", "mailboxd-up", "no-initial-copy"]);

/** Whether this mirror must not write another byte by itself. All else may be mended while the loop runs. */
export const mustWithdraw = (error: unknown): boolean =>
	error instanceof Refusal && withdrawals.has(error.code);
