import { randomBytes } from "node:crypto";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { watch } from "chokidar";
import { describe } from "../../errors.ts";
import { sameMark } from "../../formats/ldap/mark.ts";
import { digestPasswords } from "../../formats/ldap/passwords.ts";
import type { FromLdapSource, LdapHello, LdapLook } from "../../formats/ldap/wire.ts";
import type { Config } from "../../services/config.ts";
import { readIfThere } from "../../services/files.ts";
import {
	environmentsOf,
	type LdapDatabase,
	listOwn,
	markOf,
	readDatabases,
	readEnvironments,
	stateOfFiles,
	steadyDigest,
} from "../../services/ldap/directory.ts";
import { readLines } from "../../services/lines.ts";
import { makeRun } from "../../services/run.ts";
import { Wake } from "../../services/wake.ts";
import { readCoverage } from "./coverage.ts";
import { type LdapSource, removeSnapshot, removeStale } from "./snapshot.ts";

/** localconfig.xml is read, and cn=config read whole, without a sign too. */
const filesEveryMs = 5000;

/**
 * Tells what the live directory is, at each change and each heartbeat interval, until the mirror is
 * gone: its input ended, it said nothing for link_timeout, or the signal aborted. Then the snapshot
 * that was made for it is removed, and at the beginning one that nobody waits for. Returns why it ended.
 *
 * Zimbra 8 and later run slapd with a writable map, which makes no file events at all: the transaction
 * ids are polled. cn=config makes events. Where inotify has nothing left to give (a user has 128 instances,
 * fs.inotify.max_user_instances), it is polled too.
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

	const events = watchConfig(source, wake);
	await removeStale(source).catch((error: unknown) =>
		log.warn({ reason: describe(error) }, "an old LDAP snapshot stays for now"),
	);
	const say = (words: FromLdapSource) => output.write(`${JSON.stringify(words)}\n`);
	try {
		let states = "";
		const statesChanged = async (of: readonly LdapDatabase[]) => {
			const before = states;
			states = JSON.stringify([...(await stateOfFiles(zimbra.ldap, of))]);
			return states !== before;
		};
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
			const due = performance.now() - filesAt > filesEveryMs;
			const changed = events.take() || (!events.work && (await statesChanged(databases)));
			if (always || due || changed) {
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
			const silent = performance.now() - saidAt >= settings.heartbeat_interval;
			const news = said === undefined || said.heard !== heard || !sameMark(said, look);
			// A mirror that does not read is told nothing more, and will be found silent.
			if ((silent || news) && !output.writableNeedDrain) {
				say(look);
				said = look;
				saidAt = performance.now();
			}
			await wake.wait(signal);
		}
		return signal.aborted ? "the mirror is gone" : "the mirror was silent";
	} finally {
		await events.close();
		await removeSnapshot(source).catch((error: unknown) =>
			log.warn({ reason: describe(error) }, "the LDAP snapshot stays for now"),
		);
	}
}

/** Events of cn=config, as long as there are any to be had. */
function watchConfig({ config, log }: LdapSource, wake: Wake) {
	const state = { changed: true, ready: false, failed: false };
	const watcher = watch(join(config.zimbra.ldap, "config"), { ignoreInitial: true });
	watcher
		.on("ready", () => {
			state.ready = true;
		})
		.on("all", () => {
			state.changed = true;
			wake.ring();
		})
		.on("error", (error) => {
			state.failed = true;
			log.warn({ reason: describe(error) }, "no file events of LDAP's configuration: it is polled");
		});
	return {
		/** else somebody has to look */
		get work(): boolean {
			return state.ready && !state.failed;
		},
		/** Whether there was one since the last call. */
		take(): boolean {
			const { changed } = state;
			state.changed = false;
			return changed;
		},
		close: () => watcher.close(),
	};
}

/** What the files of LDAP take on the disk: those of slapd have holes. */
async function sizeOf({ zimbra }: Config, databases: readonly LdapDatabase[]): Promise<number> {
	const { files } = await listOwn(zimbra.ldap, databases);
	const data = environmentsOf(databases).map((place) => `${place}/data.mdb`);
	let size = 0;
	for (const path of [...files, ...data]) {
		const found = await stat(join(zimbra.ldap, path)).catch(() => undefined);
		size += (found?.blocks ?? 0) * 512;
	}
	return size;
}

/** A number has at most 16 digits. */
const longestLine = 256;

/** Counts what the mirror sends: numbers, a line each. */
function listen(input: Readable, wake: Wake, onStranger: () => void) {
	const mirror = { heard: 0, at: performance.now() };
	const onLine = (line: string) => {
		mirror.at = performance.now();
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
	{ config, owners, signal }: LdapSource,
	databases: readonly LdapDatabase[],
): Promise<LdapHello> {
	const common = { kind: "hello", directory: config.zimbra.ldap, watch: owners[0] } as const;
	const other = databases.find(({ backend }) => backend !== "mdb");
	if (other !== undefined) {
		const reason = `the database in ${other.place} is of type ${other.backend}`;
		return { ...common, method: "files", reason, size: await sizeOf(config, databases) };
	}
	const run = makeRun(config.settings);
	for (const tool of ["mdb_copy", "mdb_stat"]) {
		const options = { timeoutMs: config.settings.command_timeout, signal };
		const { exitCode } = await run([tool, "-V"], options);
		if (exitCode === undefined) {
			const reason = `${tool} is not installed on the live server (looked in ${config.settings.path.join(":")})`;
			return { ...common, method: "files", reason, size: await sizeOf(config, databases) };
		}
	}
	return { ...common, method: "snapshot" };
}
