/** Replays everything in a process of its own, for tests that kill it. argv: live_sync.conf, and whether LDAP covers nothing */
import { pino } from "pino";
import { makeReplayer } from "../../../../src/loops/redo/replayer/loop.ts";
import { loadConfig } from "../../../../src/services/config.ts";
import { makeRun } from "../../../../src/services/run.ts";

const config = await loadConfig(process.argv[2] ?? "");
const replayer = makeReplayer({
	config,
	run: makeRun(config.settings),
	log: pino({ level: "silent" }),
	settled: () => undefined,
	coverage: async () => (process.argv[3] === undefined ? "all" : undefined),
	events: { onState: () => {}, onReplayed: () => {}, onWait: () => {}, onProblem: () => {} },
});
await replayer.replayEverything(new AbortController().signal);
