import { randomBytes } from "node:crypto";
import type { Readable, Writable } from "node:stream";
import { watch } from "chokidar";
import { describe } from "../../errors.ts";
import { sameMark } from "../../formats/ldap/mark.ts";
import { digestPasswords } from "../../formats/ldap/passwords.ts";
import type { FromLdapSource, LdapHello, LdapLook } from "../../formats/ldap/wire.ts";
import { readIfThere } from "../../services/files.ts";
import {
	environmentsOf,
	type LdapDatabase,
	markOf,
	readDatabases,
	readEnvironments,
	steadyDigest,
} from "../../services/ldap/directory.ts";
import { readLines } from "../../services/lines.ts";
import { makeRun } from "../../services/run.ts";
import { Wake } from "../../services/wake.ts";
import { readCoverage } from "./coverage.ts";
import { type LdapSource, removeSnapshot } from "./snapshot.ts";

/** File events can be lost, so files are looked at without one too. */
const filesEveryMs = 5000;

/**
 * Tells what the live directory is, at each change and each heartbeat interval, until the mirror is
 * gone: its input ended, it said nothing for link_timeout, or the signal aborted. Then the snapshot
 * that was made for it is removed. Returns why it ended.
 *
 * Zimbra 8 and later run slapd with a writable map, which makes no file events at all: the
 * transaction ids are polled. cn=config and hdb make them.
 */
export async function reportLdapChanges(
	source: LdapSource,
	input: Readable,
	output: Writable,
): Promise<string> {
	const { config, log } = source;
	const { settings, zimbra } = config;
	const gone = new AbortController();
	const signal = AbortSignal.any([source.signal, gone.signal]);
	using wake = new Wake([], Math.min(settings.ldap_poll, settings.heartbeat_interval));
	const mirror = listen(input, wake, () => gone.abort());
	for (const stream of [input, output]) {
		// The error says no more than that nobody is there.
		stream.on("error", () => gone.abort());
	}
	input.on("end", () => gone.abort()).on("close", () => gone.abort());

	let filesChanged = true;
	const watcher = watch(zimbra.ldap, {
		ignoreInitial: true,
		ignored: (path) => path.endsWith(".mdb") || path.startsWith(`${zimbra.ldap}/state/`),
	});
	watcher.on("all", () => {
		filesChanged = true;
		wake.ring();
	});
	watcher.on("error", (error) => log.warn({ reason: describe(error) }, "LDAP is polled only"));

	const say = (words: FromLdapSource) => output.write(`${JSON.stringify(words)}\n`);
	try {
		let databases = await readDatabases(zimbra.ldap, zimbra.ldap, zimbra.home);
		const hello = await howToCopy(source, databases);
		say(hello);
		let said: LdapLook | undefined;
		let saidAt = Number.NEGATIVE_INFINITY;
		let passwordsSaid: string | undefined;
		let files = "";
		let filesAt = Number.NEGATIVE_INFINITY;
		while (!signal.aborted && performance.now() - mirror.at < settings.link_timeout) {
			const { heard } = mirror;
			const { coverage, clock } = await readCoverage(zimbra, source.timeline);
			const always = hello.method === "files";
			if (always || filesChanged || performance.now() - filesAt > filesEveryMs) {
				filesChanged = false;
				filesAt = performance.now();
				databases = await readDatabases(zimbra.ldap, zimbra.ldap, zimbra.home);
				files = await steadyDigest(zimbra.ldap, databases);
				const localconfig = (await readIfThere(zimbra.localconfig)) ?? "";
				if (localconfig !== passwordsSaid) {
					passwordsSaid = localconfig;
					say({
						kind: "passwords",
						...digestPasswords(localconfig, randomBytes(16).toString("hex")),
					});
				}
			}
			const environments = await readEnvironments(zimbra.ldap, environmentsOf(databases));
			const mark = markOf(environments, files);
			const look: LdapLook = { kind: "look", ...mark, coverage, clock, heard };
			const due = performance.now() - saidAt >= settings.heartbeat_interval;
			const news = said === undefined || said.heard !== heard || !sameMark(said, look);
			// A mirror that does not read is told nothing more, and will be found silent.
			if ((due || news) && !output.writableNeedDrain) {
				say(look);
				said = look;
				saidAt = performance.now();
			}
			await wake.wait(signal);
		}
		return signal.aborted ? "the mirror is gone" : "the mirror was silent";
	} finally {
		await watcher.close();
		await removeSnapshot(source, mirror.clock).catch((error: unknown) =>
			log.warn({ reason: describe(error) }, "the LDAP snapshot stays for now"),
		);
	}
}

/** A number has at most 16 digits. */
const longestLine = 256;

/** Counts what the mirror sends: numbers, a line each. */
function listen(input: Readable, wake: Wake, onStranger: () => void) {
	const mirror = { heard: 0, at: performance.now(), clock: Date.now() };
	const onLine = (line: string) => {
		mirror.at = performance.now();
		mirror.clock = Date.now();
		const number = Number(line);
		if (!Number.isSafeInteger(number) || number <= mirror.heard) return;
		mirror.heard = number;
		wake.ring();
	};
	readLines(input, longestLine, { onLine, onTooLong: onStranger });
	return mirror;
}

/** Without mdb_copy, or where slapd keeps its data otherwise, only the files can be copied. */
async function howToCopy(
	{ config, signal }: LdapSource,
	databases: readonly LdapDatabase[],
): Promise<LdapHello> {
	const directory = config.zimbra.ldap;
	const other = databases.find(({ backend }) => backend !== "mdb");
	if (other !== undefined) {
		const reason = `the database in ${other.place} is of type ${other.backend}`;
		return { kind: "hello", method: "files", reason, directory };
	}
	const run = makeRun(config.settings);
	for (const tool of ["mdb_copy", "mdb_stat"]) {
		const options = { timeoutMs: config.settings.command_timeout, signal };
		const { exitCode } = await run([tool, "-V"], options);
		if (exitCode === undefined) {
			const reason = `${tool} is not installed on the live server (looked in ${config.settings.path.join(":")})`;
			return { kind: "hello", method: "files", reason, directory };
		}
	}
	return { kind: "hello", method: "snapshot", directory };
}
