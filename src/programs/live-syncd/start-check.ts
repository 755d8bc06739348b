import { makeLogger } from "../../services/log/logger.ts";
import { onServer } from "../../services/manual.ts";
import type { PeerConfig } from "../../services/peer-config.ts";
import { type Examination, examineHere, examineThere } from "./examine.ts";
import { Interruption } from "./interruption.ts";
import { loopNames, runningLoops } from "./loop.ts";
import { proveLdap } from "./prove-ldap.ts";
import { makeDirectories } from "./setting-up.ts";
import { inPlainWords } from "./tell.ts";
import { takeTurn } from "./turn.ts";

const turnMs = 2000;

/**
 * `live-syncd start --check`: what `start` would say, all of it at once, and nothing is changed. Also where
 * there is no initial copy yet, so that nobody learns in its downtime what could have been known before.
 */
export async function checkStart(config: PeerConfig): Promise<number> {
	await makeDirectories(config);
	const log = (await makeLogger(config.base.log, config.settings)).child({ program: "start" });
	await using _turn = await takeTurn(config, "start", turnMs, log);
	const running = await runningLoops(config);
	const loops = loopNames.filter((name) => running[name].length === 0);
	if (loops.length === 0) {
		process.stdout.write("Both loops run already: there is nothing to start\n");
		return 0;
	}
	const found: unknown[] = [];
	// Whoever ends it ends what it has started, too.
	const { signal } = new Interruption();
	const say = (line: string) => process.stdout.write(`${line.replaceAll("\n", " ")}\n`);
	const examination: Examination = {
		config,
		log,
		loops,
		signal,
		ownHistory: "look",
		async demand(guard) {
			try {
				return await guard();
			} catch (error) {
				signal.throwIfAborted();
				found.push(error);
				say(line(error));
				return undefined;
			}
		},
		warn: (message, hint) =>
			say(`warning: ${message}${hint === undefined ? "" : `; ${onServer(hint)}`}`),
	};
	const { demand } = examination;
	const here = await examineHere(examination);
	const there = loops.includes("redo") ? await examineThere(examination, here) : undefined;
	// A Zimbra that was installed for the copy has a server id, too: one of its own.
	const own = there?.serverId !== undefined && there.serverId !== here.serverId;
	const copied = there === undefined || (here.serverId !== undefined && !own);
	if (loops.includes("ldap") && there?.answered !== false) {
		await demand(() => proveLdap({ config, log, signal, scratch: true, copied, tell: say }));
	}
	if (!copied) {
		say(
			"not checked, since they come with the initial copy: server id, history of the redo log, LDAP passwords",
		);
	}
	say(
		found.length === 0
			? "Nothing stands in the way of live-syncd start"
			: `live-syncd start would be refused: ${found.length} ${found.length === 1 ? "reason" : "reasons"}`,
	);
	return found.length === 0 ? 0 : 1;
}

function line(error: unknown): string {
	const { message, code, hint } = inPlainWords(error);
	return `${code === undefined ? "" : `[${code}] `}${message}${hint === undefined ? "" : `; try: ${hint}`}`;
}
