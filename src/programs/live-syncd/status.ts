import { describe, hasCode } from "../../errors.ts";
import { type MirrorFacts, reportMirrors } from "../../formats/mirror-report.ts";
import { parseRole, unknownRole } from "../../formats/role.ts";
import type { LdapState, RedoState } from "../../formats/state.ts";
import {
	ldapAges,
	reportStatus,
	type ServerFacts,
	statusCode,
	withoutOldLags,
} from "../../formats/status-report.ts";
import { ageOf } from "../../services/clock.ts";
import type { Config } from "../../services/config.ts";
import { readIfThere } from "../../services/files.ts";
import { readKeptLots } from "../../services/kept-lots.ts";
import { onServer } from "../../services/manual.ts";
import { recordNames } from "../../services/mirrors.ts";
import { readPidFile } from "../../services/pid-file.ts";
import { readPublished } from "../../services/publish.ts";
import { makeRun } from "../../services/run.ts";
import { answer } from "../../services/standard-output.ts";
import { makeMailboxd } from "../../services/zimbra/mailboxd.ts";
import { configure } from "./setting-up.ts";

/**
 * Tells how things stand, from what the loops have published: never a word over the network, so that
 * it answers with the live server dead or silent.
 */
export async function status(options: {
	config: string | undefined;
	json: boolean;
}): Promise<number> {
	const config = await configure(options.config);
	const { base } = config;
	const [redoProcess, ldapProcess, redo, ldap, server, kept] = await Promise.all([
		readPidFile(base.pidRedo),
		readPidFile(base.pidLdap),
		readPublished<RedoState>(base.stateRedo, 1),
		readPublished<LdapState>(base.stateLdap, 1),
		lookAtServer(config),
		readKeptLots(base.failed).catch((error: unknown) => ({ unknown: describe(error) })),
	]);
	const ldapHeardAgeMs = ldap?.heardAt && ageOf(ldap.heardAt);
	const facts = {
		redo: withoutOldLags({ pid: redoProcess?.pid, state: redo, ageMs: redo && ageOf(redo.at) }),
		ldap: { pid: ldapProcess?.pid, state: ldap, ageMs: ldap && ageOf(ldap.at) },
		heardAgeMs: redo?.heardAt && ageOf(redo.heardAt),
		ldapHeardAgeMs,
		ldapAgesMs: ldapAges(ldap, ldapHeardAgeMs),
		server,
		kept,
	};
	const code = statusCode(facts);
	const mirrors =
		server.role === "mirror" && server.stoppedAt === undefined ? [] : await mirrorsOf(config);
	const report = options.json
		? `${JSON.stringify({ code, ...facts, mirrors })}\n`
		: onServer(`${reportStatus(facts)}${reportMirrors(mirrors)}`);
	await answer(report).catch((error: unknown) => {
		// `status | grep -q` reads no further than it needs; the exit code is as true as before.
		if (!hasCode(error, "EPIPE")) throw error;
	});
	return code;
}

/**
 * Only a server that has a mirror, and is none, takes the time to load what looks at its archives. What cannot be told
 * is said as such: the rest of the status is true all the same.
 */
async function mirrorsOf(config: Config): Promise<readonly MirrorFacts[] | { unknown: string }> {
	try {
		if ((await recordNames(config.base.mirrors)).length === 0) return [];
		const { knownMirrors } = await import("./known-mirrors.ts");
		return await knownMirrors(config);
	} catch (error) {
		return { unknown: describe(error) };
	}
}

async function lookAtServer(config: Config): Promise<ServerFacts> {
	const text = await readIfThere(config.base.role);
	const record = text === undefined ? unknownRole : parseRole(text);
	const mailboxd = (await makeMailboxd({ run: makeRun(config.settings), config }).process())?.pid;
	if (record === undefined) return { role: "damaged", since: 0, mailboxd };
	const { role, since, stopped } = record;
	return { role, since, stoppedAt: stopped?.at, mailboxd };
}
