import { judgeLags, Standstill } from "../../formats/lag.ts";
import { formatPosition, type Position } from "../../formats/redolog/position.ts";
import type { Settings } from "../../formats/settings/table.ts";
import type { Problem } from "../../formats/state.ts";
import { regularly } from "../regularly.ts";
import type { RedoStatus } from "./redo-status.ts";

const shippedLookMs = 10_000;

/** Conditions that are told in words of their own, and of which a lag is but the consequence. */
const causes = ["link", "replay", "coverage", "lock"];

/**
 * Tells of a mirror that works, and falls behind all the same: too slow a disk, link or replay. And of one
 * whose message store stands still although there is more to replay: whatever the reason, and whatever
 * else is told of it, that is no standby any more.
 */
export async function watchLag(
	{ lag_max, replay_interval }: Pick<Settings, "lag_max" | "replay_interval">,
	status: RedoStatus,
	signal: AbortSignal,
	lookMs = shippedLookMs,
): Promise<void> {
	const limits = { flushed: lag_max / 1000, replayed: (lag_max + replay_interval) / 1000 };
	const { problems } = status;
	const standstill = new Standstill();
	await regularly(lookMs, signal, async () => {
		const stoodMs = standstill.lastsMs(status.replayed, status.flushed, performance.now());
		if (stoodMs > 1000 * limits.replayed) problems.note("standstill", told(status, stoodMs));
		else problems.resolved("standstill");
		if (causes.some((topic) => problems.has(topic))) return;
		const message = judgeLags(status.leastLags(), limits);
		if (message === undefined) return problems.resolved("lag");
		const hint = "docs/runbooks.md, behind";
		problems.note("lag", { code: "trouble", message, hint, critical: false });
	});
}

function told({ replayed, flushed }: RedoStatus, stoodMs: number): Omit<Problem, "since"> {
	const at = (position: Position | undefined) =>
		position === undefined ? "nothing" : formatPosition(position);
	return {
		code: "trouble",
		message: `the message store stands still: replay has stood at ${at(replayed)} for ${Math.floor(stoodMs / 60_000)} minutes, and the redo log here has gone on to ${at(flushed)}`,
		hint: "the other lines of live-syncd status say what replay waits for; if none does: docs/runbooks.md, behind",
		critical: true,
	};
}
