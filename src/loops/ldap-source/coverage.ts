import { setTimeout as sleep } from "node:timers/promises";
import type { Coverage } from "../../formats/ldap/wire.ts";
import type { ZimbraPaths } from "../../services/paths.ts";
import { endOfLog } from "../../services/redolog/open-log.ts";

/** Between the two renames of a rollover there is no redo.log, for less than this. */
const rolloverMs = 200;

/** Where the live log ends now, and the live clock. Undefined coverage: there is no redo.log. */
export async function readCoverage(
	zimbra: ZimbraPaths,
	timeline: number,
): Promise<{ coverage: Coverage | undefined; clock: number }> {
	const deadline = performance.now() + rolloverMs;
	for (;;) {
		const end = await endOfLog(zimbra);
		const clock = Date.now();
		if (end === undefined && performance.now() < deadline) {
			await sleep(10);
			continue;
		}
		if (end === undefined) return { coverage: undefined, clock };
		const { serverId, sequence, createTime } = end.header;
		return { coverage: { serverId, sequence, createTime, timeline, offset: end.size }, clock };
	}
}
