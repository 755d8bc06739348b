import type { Config } from "../../services/config.ts";
import { lackOfRoom } from "../../services/room.ts";
import { regularly } from "../regularly.ts";
import type { RedoStatus } from "./redo-status.ts";

const lookMs = 30_000;

/** Tells of a disk that fills up while there is still room: an archive, a copy of LDAP, a replay run. */
export async function watchRoom(
	config: Config,
	status: RedoStatus,
	signal: AbortSignal,
): Promise<void> {
	await regularly(lookMs, signal, async () => {
		const lack = await lackOfRoom(config);
		if (lack === undefined) return status.problems.resolved("disk");
		const { code, message, hint } = lack;
		status.problems.note("disk", { code, message, hint, critical: false });
	});
}
