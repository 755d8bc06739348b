import { Refusal } from "../../../errors.ts";
import type { LogHeader } from "../../../formats/redolog/header.ts";
import { newestVersion } from "../../../formats/redolog/layouts.ts";
import { formatPosition } from "../../../formats/redolog/position.ts";
import type { ReplayPlan, ReplayRemark } from "../../../formats/replay/plan.ts";
import type { ReplayedPosition } from "../../../formats/replay/replayed-position.ts";
import type { ReplayRange } from "../../../formats/replay/scan.ts";
import type { Config } from "../../../services/config.ts";
import type { Logger } from "../../../services/log/logger.ts";
import { describeAbortedLink } from "./aborted-link.ts";

const mostSaid = 20;

/** Remarks that were said, so that a replay which is tried again does not repeat them. */
export type Said = Set<string>;
const mostRemembered = 10_000;

/** What an admin must be told of a replay, beside what it executes; each remark once. */
export function sayRemarks(
	log: Logger,
	{ remarks, remarkCount }: ReplayPlan,
	logs: ReplayRange["logs"],
	said: Said,
): void {
	if (said.size > mostRemembered) said.clear();
	const news = remarks.filter((remark) => !said.has(nameOf(remark)));
	if (news.length === 0) return;
	for (const remark of remarks) said.add(nameOf(remark));
	// A message that the live server alone has is named, however much else there is to say.
	const [aborted, others] = [true, false].map((is) =>
		news.filter(({ kind }) => (kind === "aborted link") === is),
	) as [ReplayRemark[], ReplayRemark[]];
	for (const remark of [...aborted, ...others.slice(0, mostSaid)]) {
		log.warn(factsOf(remark, logs), sentences[remark.kind]);
	}
	const more = remarkCount - remarks.length + Math.max(0, others.length - mostSaid);
	if (more > 0) log.warn({ more }, "there is more to say of this part of the log");
}

const nameOf = (remark: ReplayRemark): string => `${remark.kind} ${placeOf(remark)}`;

function placeOf(remark: ReplayRemark): string {
	switch (remark.kind) {
		case "torn":
		case "gap":
			return formatPosition(remark.place);
		case "aborted link":
			return formatPosition(remark.link.abort);
		case "contradicted":
			return remark.id;
		default:
			return formatPosition(remark.operation.commit);
	}
}

const sentences: Record<ReplayRemark["kind"], string> = {
	torn: "a closed redo log ends inside a record; what is torn was never committed",
	gap: "a part of the redo log cannot be walked; zmplayredo is given it as it stands",
	misread: "Zimbra's own reader takes an operation for another one",
	"not executable": "Zimbra's own reader cannot read an operation back; it is not on this mirror",
	"left out": "an operation is left out",
	"link without blob": "the stored blob that a message links is in no log that is here",
	"aborted link":
		"the live server aborted a message for one of its recipients; where mailboxd died as it arrived, the live server has the message all the same, and this mirror has not",
	contradicted:
		"an operation was executed here, then cut on the live server, and is aborted there now",
};

function factsOf(remark: ReplayRemark, logs: ReplayRange["logs"]): Record<string, unknown> {
	switch (remark.kind) {
		case "torn":
			return { at: formatPosition(remark.place), bytes: remark.place.length };
		case "gap":
			return {
				at: formatPosition(remark.place),
				bytes: remark.place.length,
				reason: remark.reason,
			};
		case "aborted link":
			return { at: placeOf(remark), ...describeAbortedLink(logs, remark.link) };
		case "contradicted":
			return { transaction: remark.id };
		default: {
			const { id, name, mailboxId, commit } = remark.operation;
			return { transaction: id, operation: name, mailboxId, at: formatPosition(commit) };
		}
	}
}

/** What to throw where a redo log is written in a version that this program does not know. */
export function newerLog(what: string, { major, minor }: LogHeader["version"]): Refusal {
	const { major: newest, minor: last } = newestVersion;
	return new Refusal(
		"log-version",
		`${what} is written in version ${major}.${minor}, as Zimbra X does; this live-syncd knows versions up to ${newest}.${last}`,
		"nothing of it is replayed, so that nothing is misread, and the redo log is received all the same; this server can be a standby only with a release of live-syncd that knows that version",
	);
}

/** Throws where the logs on this mirror are not those that the position speaks of. */
export function throwWhereLogsEnd(
	{ zimbra, base }: Config,
	{ end, files }: Pick<ReplayPlan, "end" | "files">,
	position: ReplayedPosition,
): void {
	switch (end.kind) {
		case "done":
		case "stuck": // the rest waits until the log is closed
			return;
		case "log missing":
			if (files.length > 0) return; // up to there it can go on
			throw new Refusal(
				"archive-gone",
				`redo log ${end.sequence}, which is to be replayed next, is neither in ${zimbra.archive} nor ${zimbra.currentLog}`,
				`put the archive of sequence ${end.sequence} back into ${zimbra.archive}, from the live server or its backup; if it is nowhere, the mirror must be copied anew: docs/runbooks.md, initial copy`,
			);
		case "log newer":
			if (files.length > 0) return; // up to there it can go on
			throw newerLog(`redo log ${end.sequence} in ${zimbra.redolog}`, end.version);
		case "log altered":
		case "log shorter":
			throw new Refusal(
				"log-altered",
				`redo log ${position.log.sequence} in ${zimbra.redolog} is not the one that was replayed up to ${position.offset} (${base.replayed}): ${
					end.kind === "log shorter"
						? `it has only ${end.length} bytes`
						: `it should be of ${new Date(end.expected.createTime).toISOString()}`
				}`,
				"nothing is replayed; docs/runbooks.md, divergence",
			);
	}
}
