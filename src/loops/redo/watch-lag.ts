import { judgeLags } from "../../formats/lag.ts";
import type { Settings } from "../../formats/settings/table.ts";
import { regularly } from "../regularly.ts";
import type { RedoStatus } from "./redo-status.ts";

const shippedLookMs = 10_000;

/** Conditions that are told in words of their own, and of which a lag is but the consequence. */
const causes = ["link", "replay", "coverage", "lock"];

/** Tells of a mirror that works, and falls behind all the same: too slow a disk, link or replay. */
export async function watchLag(
	{ lag_max, replay_interval }: Pick<Settings, "lag_max" | "replay_interval">,
	status: RedoStatus,
	signal: AbortSignal,
	lookMs = shippedLookMs,
): Promise<void> {
	const limits = { flushed: lag_max / 1000, replayed: (lag_max + replay_interval) / 1000 };
	const { problems } = status;
	await regularly(lookMs, signal, async () => {
		if (causes.some((topic) => problems.has(topic))) return;
		const message = judgeLags(status.leastLags(), limits);
		if (message === undefined) return problems.resolved("lag");
		const hint = "docs/runbooks.md, behind";
		problems.note("lag", { code: "trouble", message, hint, critical: false });
	});
}
