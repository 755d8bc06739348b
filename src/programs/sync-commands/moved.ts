import { rm } from "node:fs/promises";
import { join } from "node:path";
import { longSilenceMs } from "../../formats/mirror-report.ts";
import { isRecordOf } from "../../formats/protocol/mirror-record.ts";
import { syncDirectory } from "../../services/files.ts";
import { heardAge, readRecord, recordNames } from "../../services/mirrors.ts";
import { livingSessions } from "../../services/sessions.ts";
import { answer } from "../../services/standard-output.ts";
import type { Serve } from "./context.ts";

/**
 * A mirror has another address than before: the record under the old one is dropped, `moved`. Not before
 * it is known by the new one, and the old one has been silent for long, `later`: a second mirror that was
 * made as a copy of the first says the same.
 */
export const serve: Serve<"moved"> = async ({ from, to }, { config, log }) => {
	const { mirrors: directory } = config.base;
	const names = await recordNames(directory);
	const old = names.filter((name) => isRecordOf(name, from));
	const records = await Promise.all(old.map((name) => readRecord(join(directory, name))));
	const heard = records.some((record) => record !== undefined && heardAge(record) < longSilenceMs);
	const streams = livingSessions(config).some(
		({ verb, mirror }) => verb === "stream_from" && mirror === from,
	);
	const isKnown = names.some((name) => isRecordOf(name, to));
	if (old.length > 0 && (heard || streams || !isKnown)) {
		await answer("later\n");
		return 0;
	}
	for (const name of old) await rm(join(directory, name), { force: true });
	if (old.length > 0) {
		await syncDirectory(directory);
		log("info", "a mirror has another address, its old record is dropped", { from, to });
	}
	await answer("moved\n");
	return 0;
};
