/**
 * What zmplayredo starts: replays redo logs to the message store of a host with mailboxd down, as
 * com.zimbra.cs.redolog.util.PlaybackUtil does, with its exit codes.
 */
import { existsSync, readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { LogReader } from "../redo/log-reader.ts";
import { type Directory, openDirectory } from "../store/accounts.ts";
import { Blobs } from "../store/blobs.ts";
import { Database } from "../store/database.ts";
import { Executor } from "../store/executor.ts";
import { control, databaseSocket, home, hostDirectory, logMailbox } from "./place.ts";
import { type PlaybackOptions, parseOptions, usage } from "./playback-options.ts";
import { Player, type PlayerFaults } from "./player.ts";

/** control/zmplayredo.json: what a test lets go wrong */
export type ReplayFaults = PlayerFaults & {
	/** as a JVM takes its time */
	readonly startDelayMs?: number;
	/** ends so before anything is executed */
	readonly exit?: number;
	/** never begins */
	readonly hang?: boolean;
	/** between two attempts to reach the database; 5 s unless told */
	readonly databaseRetryMs?: number;
};

const say = (text: string) => process.stdout.write(`${text}\n`);
const options = parseOptions(process.argv.slice(2));
if (options === undefined || options.help) {
	process.stderr.write(usage);
	process.exit(options === undefined ? 1 : 0);
}

const faults = control<ReplayFaults>("zmplayredo");
if (faults.startDelayMs !== undefined) await sleep(faults.startDelayMs);
if (faults.hang === true) await new Promise(() => setInterval(() => {}, 1e9));
if (faults.exit !== undefined) process.exit(faults.exit);

tell(options);
const directory = openDirectory(home, hostDirectory);
const files = options.logfiles ?? (await allLogs(options));
// Each header is read before anything is executed: the first bad one ends the run.
const played = files.filter((file) => {
	using reader = new LogReader(mustExist(file));
	const { header } = reader;
	const outside =
		header.firstTime > options.toTime || (header.lastTime < options.fromTime && !header.open);
	if (outside) say(`Redolog ${file} has no operation in the requested time range`);
	return !outside;
});
say(`${played.length} redolog files to play back`);
const database = await waitForDatabase();
await directory.serverId(); // Zimbra.startupCLI: LDAP down at the start ends the run
const executor = new Executor(database, patient(directory), new Blobs(home));
const player = new Player(executor, options, faults);
try {
	for (const file of played) {
		say(`Processing log file: ${resolve(file)}`);
		try {
			await player.play(file);
		} catch (error) {
			if (options.stopOnError) throw error;
			logMailbox("WARN", "main", `Ignoring error and moving on: ${(error as Error).message}`);
		}
	}
} finally {
	await player.shutdown();
}
process.exit(0);

function tell(chosen: PlaybackOptions): void {
	if (chosen.fromSeq !== undefined) say(`Using from-sequence of ${chosen.fromSeq}`);
	if (chosen.toSeq !== undefined) say(`Using to-sequence of ${chosen.toSeq}`);
	if (chosen.mailboxId === undefined) say("Replaying operations for all mailboxes");
	else say(`Replaying operations for mailbox ${chosen.mailboxId} only`);
	say(`Using ${chosen.threads} redo player threads`);
	say(`Using ${chosen.queueCapacity} as queue capacity for each redo player thread`);
}

/** Archives by the number in their name, redo.log by the one in its header. */
async function allLogs({ fromSeq = -1, toSeq = Infinity }: PlaybackOptions): Promise<string[]> {
	await directory.serverId();
	const archive = join(home, "redolog/archive");
	const archived = readdirSync(archive)
		.flatMap((name) => {
			const [, sequence] = /^redo-.*-seq(\d+)\.log$/.exec(name) ?? [];
			return sequence === undefined ? [] : [{ name, sequence: Number(sequence) }];
		})
		.filter(({ sequence }) => fromSeq <= sequence && sequence <= toSeq)
		.sort((a, b) => a.sequence - b.sequence)
		.map(({ name }) => join(archive, name));
	const current = join(home, "redolog/redo.log");
	if (!existsSync(current)) return archived;
	using reader = new LogReader(current);
	const { sequence } = reader.header;
	return fromSeq <= sequence && sequence <= toSeq ? [...archived, current] : archived;
}

function mustExist(file: string): string {
	if (!existsSync(file)) throw new Error(`No such file: ${resolve(file)}`);
	return file;
}

/** DbPool.waitForDatabase: for ever. */
async function waitForDatabase(): Promise<Database> {
	for (;;) {
		const connected = await Database.connect(databaseSocket).catch(() => undefined);
		if (connected !== undefined) return connected;
		logMailbox(
			"WARN",
			"main",
			"Could not establish a connection to the database.  Retrying in 5 seconds.",
		);
		await sleep(faults.databaseRetryMs ?? 5000);
	}
}

/** LDAP that goes away during the run is waited for, for ever too. */
function patient(impatient: Directory): Directory {
	const wait = async <T>(ask: () => Promise<T>): Promise<T> => {
		for (;;) {
			try {
				return await ask();
			} catch {
				await sleep(faults.databaseRetryMs ?? 5000);
			}
		}
	};
	return {
		accountById: (id) => wait(() => impatient.accountById(id)),
		accountByMail: (mail) => wait(() => impatient.accountByMail(mail)),
		setting: (name) => wait(() => impatient.setting(name)),
		serverId: () => wait(() => impatient.serverId()),
	};
}
