import { cpSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { pino } from "pino";
import type { Position } from "../../../../src/formats/redolog/position.ts";
import type { Settings } from "../../../../src/formats/settings/table.ts";
import type { Problem, ReplayState } from "../../../../src/formats/state.ts";
import { makeReplayer } from "../../../../src/loops/redo/replayer/loop.ts";
import { establishReplayed, readReplayed } from "../../../../src/loops/redo/replayer/position.ts";
import type {
	Covered,
	Replayer,
	ReplayResult,
} from "../../../../src/loops/redo/replayer/replayer.ts";
import { type Config, loadConfig } from "../../../../src/services/config.ts";
import { makeDirectory } from "../../../../src/services/files.ts";
import type { Logger } from "../../../../src/services/log/logger.ts";
import { makeRun } from "../../../../src/services/run.ts";
import { countExecutions } from "../../../pair/committed.ts";
import type { OpenTransaction } from "../../../pair/mailbox-client.ts";
import { createPair, type Pair, type PairOptions } from "../../../pair/pair.ts";
import { compareStores } from "../../../pair/store-dump.ts";

export const users = ["user1@example.net", "user2@example.net", "user3@example.net"] as const;

/** A pair of which host b replays what host a has logged; the stream is a copy of the files. */
export type Mirror = AsyncDisposable & {
	readonly pair: Pair;
	readonly config: Config;
	readonly replayer: Replayer;
	readonly logged: {
		readonly level: number;
		readonly msg: string;
		readonly [k: string]: unknown;
	}[];
	readonly states: ReplayState[];
	readonly problems: (Pick<Problem, "code" | "message" | "critical"> | undefined)[];
	/** who held the lock for long */
	readonly waits: (string | undefined)[];
	/** what `settled` and `coverage` say; everything unless told */
	limits: { settled: Position | undefined; coverage: Covered | "all" | undefined };
	readonly log: Logger;
	/** Copies the redo logs of host a as they are now. */
	ship(): void;
	/** Ships and replays all. */
	follow(): Promise<ReplayResult>;
	/** A replayer as another process would make it, with other settings where they are given. */
	another(settings?: Partial<Settings>): Replayer;
	/** Message by message. */
	differences(): Promise<string[]>;
	/** Operations by how often they were executed on b, those that were not executed once. */
	notOnce(): string[];
};

const { signal } = new AbortController();

export async function makeMirror(options: PairOptions = {}): Promise<Mirror> {
	const settings = {
		// Longer than any test needs; one that waits for the end of it has its own.
		replay_timeout: "1m",
		service_timeout: "1m",
		command_timeout: "1m",
		replay_settle: "0s",
		...options.settings,
	};
	const pair = await createPair({ ldap: false, ...options, settings });
	const { a, b } = pair;
	const config = await loadConfig(b.confFile);
	for (const each of ["lock", "status/slices", "status/failed"]) {
		await makeDirectory(b.path("live_sync", each));
	}
	const logged: Mirror["logged"] = [];
	const log = pino(
		{ level: "debug" },
		{ write: (line: string) => void logged.push(JSON.parse(line)) },
	);
	const states: ReplayState[] = [];
	const problems: Mirror["problems"] = [];
	const waits: Mirror["waits"] = [];
	const limits: Mirror["limits"] = { settled: undefined, coverage: "all" };
	const another = (changed: Partial<Settings> = {}) =>
		makeReplayer({
			config: { ...config, settings: { ...config.settings, ...changed } },
			run: makeRun(config.settings),
			log,
			settled: () => limits.settled,
			coverage: async () => limits.coverage,
			events: {
				onState: (state) => void states.push(state),
				onReplayed: () => {},
				onWait: (holder) => void waits.push(holder),
				onProblem: (problem) => void problems.push(problem),
			},
		});
	const replayer = another();
	const ship = () => cpSync(a.path("redolog"), b.path("redolog"), { recursive: true });
	await establishReplayed(config, 0);
	return {
		pair,
		config,
		replayer,
		logged,
		states,
		problems,
		waits,
		limits,
		log,
		ship,
		another,
		async follow() {
			ship();
			return await replayer.replayEverything(signal);
		},
		async differences() {
			return compareStores(await a.dumpStore(), await b.dumpStore());
		},
		notOnce() {
			const counts = countExecutions(a.committed(), b.executions());
			return [...counts].filter(([, count]) => count !== 1).map(([id, count]) => `${id}: ${count}`);
		},
		[Symbol.asyncDispose]: () => pair[Symbol.asyncDispose](),
	};
}

/** Where replay stands, by its file. */
export async function replayedAt({ config }: Mirror): Promise<Position> {
	const { log, offset } = await readReplayed(config);
	return { sequence: log.sequence, offset };
}

/** Lets each recipient's message of an open delivery be committed, one after the other. */
export async function commitEach(
	open: OpenTransaction,
	between: () => Promise<unknown> = async () => {},
): Promise<void> {
	let done = false;
	while (!done) {
		const committed = open.commit().then(() => {
			done = true;
		});
		await Promise.race([committed, sleep(100)]);
		if (!done) await between();
	}
}
