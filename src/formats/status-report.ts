import { foreignWords } from "./foreign-words.ts";
import { formatPosition, type Position } from "./redolog/position.ts";
import type { LdapSnapshot, LdapState, Problem, RedoState } from "./state.ts";

/** What `status` has measured: processes that live, and what each loop published last. */
export type StatusFacts = {
	readonly redo: LoopFacts<RedoState>;
	readonly ldap: LoopFacts<LdapState>;
	/** ms since the live server was last heard of */
	readonly heardAgeMs: number | undefined;
	/** the same, by the LDAP loop: it has a connection of its own */
	readonly ldapHeardAgeMs: number | undefined;
	readonly ldapAgesMs: LdapAges;
	readonly server?: ServerFacts | undefined;
	/** the lots in status/failed, or why they cannot be told */
	readonly kept?: readonly KeptCount[] | { readonly unknown: string } | undefined;
};

/** What this server is, whoever runs on it. */
export type ServerFacts = {
	/** damaged: nobody can read its record */
	readonly role: "live" | "mirror" | "unknown" | "damaged";
	/** ms since the epoch; 0 where no role was ever recorded, or its record is damaged */
	readonly since: number;
	/** ms since the epoch: `stop` came to its end */
	readonly stoppedAt?: number | undefined;
	/** its process */
	readonly mailboxd?: number | undefined;
};

/** Operations that need an admin's eye; the kinds are those of kept-operations.ts. */
export type KeptCount = {
	readonly kind: string;
	readonly count: number;
	/** ms since the epoch */
	readonly at: number;
};

/** ms since the change was seen on the live server, since the copies were made there. */
export type LdapAges = {
	readonly changeSeen?: number | undefined;
	readonly staged?: number | undefined;
	readonly installed?: number | undefined;
};

type LoopFacts<S> = {
	/** undefined where the loop does not run */
	readonly pid: number | undefined;
	readonly state: S | undefined;
	readonly ageMs: number | undefined;
};

/** All by the live server's clock as it was last heard of: those of two hosts are never compared. */
export function ldapAges(state: LdapState | undefined, heardAgeMs: number | undefined): LdapAges {
	if (state?.liveClock === undefined || heardAgeMs === undefined) return {};
	const liveNow = state.liveClock + heardAgeMs;
	const age = (at: number | undefined) =>
		at === undefined ? undefined : Math.max(0, Math.round(liveNow - at));
	const { changeSeen, staged, installed } = state;
	return {
		changeSeen: age(changeSeen?.at),
		staged: age(staged?.takenAt),
		installed: age(installed?.takenAt),
	};
}

/** The exit code of the 2011 script: 0 both loops run, 1 one of them, 3 none. */
export function statusCode({ redo, ldap }: StatusFacts): number {
	const running = [redo, ldap].filter(({ pid }) => pid !== undefined).length;
	return running === 2 ? 0 : running === 1 ? 1 : 3;
}

/** A loop publishes every second; a state older than this is not news. */
const staleMs = 10_000;

/** For people. The first two lines are those of the 2011 script, which scripts look for. */
export function reportStatus(facts: StatusFacts): string {
	const redo = ofThisLife(withoutOldLags(facts.redo));
	const ldap = ofThisLife(facts.ldap);
	const lines = [
		redo.pid === undefined ? "redolog sync process stopped" : "redo log sync process OK",
		ldap.pid === undefined ? "ldap sync process stopped" : "ldap sync process OK",
	];
	const told = [
		...serverLines(facts),
		...(redo.state === undefined
			? untold("redo log", redo)
			: redoLines(redo, redo.state, facts.heardAgeMs)),
		...(ldap.state === undefined ? untold("ldap", ldap) : ldapLines(ldap, ldap.state, facts)),
	];
	const over = isOver(facts.server);
	const problems = [
		...roleProblems(facts),
		...keptProblems(facts),
		...problemsOf("redo", redo, over),
		...problemsOf("ldap", ldap, over),
	];
	for (const part of [told, problems]) if (part.length > 0) lines.push("", ...part);
	return `${lines.join("\n")}\n`;
}

/**
 * This server follows no other one any more: what its loops had trouble with is no trouble now. Where
 * mailboxd was started without `stop`, it is.
 */
const isOver = (server: ServerFacts | undefined): boolean =>
	server !== undefined && (server.role === "live" || stoppedAt(server) !== undefined);

/** Version 2.0 has a mirror forget at `stop` what it was, and keeps the time of it. */
const stoppedAt = ({ role, since, stoppedAt }: ServerFacts): number | undefined =>
	stoppedAt ?? (role === "unknown" && since > 0 ? since : undefined);

function serverLines({ server, redo, ldap }: StatusFacts): string[] {
	if (server === undefined) return [];
	const { role, since, mailboxd } = server;
	const stopped = stoppedAt(server);
	const was = stopped === undefined ? "" : `was a mirror, stopped at ${time(stopped)}`;
	if (mailboxd !== undefined) {
		const before =
			was !== ""
				? `; it ${was}`
				: role === "mirror"
					? "; it was a mirror, and was not stopped"
					: "";
		return [
			row("server", `this server is live: mailboxd runs here (process ${mailboxd})${before}`),
		];
	}
	const missing = [redo.pid === undefined && "redo", ldap.pid === undefined && "LDAP"].filter(
		(name) => name !== false,
	);
	if (was !== "" && missing.length > 0) {
		return [row("server", `${was}: it follows no other server, and mailboxd does not run here`)];
	}
	switch (role) {
		case "live":
			return [row("server", `live, since ${time(since)}; mailboxd does not run here`)];
		case "mirror":
			if (missing.length === 0) return [row("server", `mirror, since ${time(since)}`)];
			return [
				row(
					"server",
					missing.length === 2
						? "mirror whose loops do not run: nothing is received or replayed"
						: `mirror whose ${missing[0]} loop does not run`,
				),
			];
		case "damaged":
			return [row("server", "unknown: the record of its role is damaged")];
		case "unknown":
			return missing.length < 2
				? []
				: [row("server", "neither mirror nor live, as far as is known")];
	}
}

function roleProblems({ server }: StatusFacts): string[] {
	if (server?.role !== "damaged") return [];
	return problemLines("server", {
		code: "trouble",
		message:
			"status/role.json below the base directory is damaged: start is refused here, and a live server serves no mirror any more",
		hint: "put back a copy of it; on a server that was never promoted, move it to another place",
		since: Date.now(),
		critical: true,
	});
}

/** Each check looks for lines that begin so; the counts above are easily passed over. */
function keptProblems({ kept, redo: { state } }: StatusFacts): string[] {
	if (kept !== undefined && "unknown" in kept) {
		return problemLines("redo", {
			code: "trouble",
			message: `whether operations of the live server failed here is not known: ${kept.unknown}`,
			hint: "see that status/failed below the base directory can be read by the user of Zimbra",
			since: Date.now(),
			critical: false,
		});
	}
	const counts = new Map<string, number>();
	if (kept === undefined) {
		counts.set("failed, set aside or left out", state?.replay.failedOperations ?? 0);
		counts.set("at risk", state?.replay.operationsAtRisk ?? 0);
	} else {
		for (const { kind, count } of kept) counts.set(kind, (counts.get(kind) ?? 0) + count);
	}
	const each = [...counts].filter(([, count]) => count > 0).map(([kind, n]) => `${n} ${kind}`);
	if (each.length === 0) return [];
	return problemLines("redo", {
		code: "trouble",
		message: `operations of the live server are not in the store here, or may be in it twice: ${each.join(", ")}`,
		hint: "look into status/failed below the base directory: docs/runbooks.md, replay has stopped",
		since: Math.min(...(kept ?? []).map(({ at }) => at), state?.at.wall ?? Date.now()),
		critical: false,
	});
}

/** What was behind when the loop ended, or fell silent, says nothing of now. */
export function withoutOldLags(loop: LoopFacts<RedoState>): LoopFacts<RedoState> {
	if (loop.state === undefined || (loop.pid !== undefined && !isSilent(loop))) return loop;
	const { flushLagBytes: _bytes, flushLagSeconds: _seconds, ...state } = loop.state;
	const { lagSeconds: _lag, ...replay } = state.replay;
	return { ...loop, state: { ...state, replay } };
}

/** What a loop has published before the one that runs now was started says nothing of it. */
function ofThisLife<S extends RedoState | LdapState>(loop: LoopFacts<S>): LoopFacts<S> {
	if (loop.pid === undefined || loop.pid === loop.state?.pid) return loop;
	return { pid: loop.pid, state: undefined, ageMs: undefined };
}

const untold = (name: string, { pid }: LoopFacts<unknown>): string[] =>
	pid === undefined ? [] : [row(name, "unknown: the loop has published nothing yet")];

function problemsOf(name: string, loop: LoopFacts<RedoState | LdapState>, over: boolean): string[] {
	const { pid, state } = loop;
	if (pid === undefined && over) return [];
	if (state === undefined) {
		if (pid === undefined) return [];
		return [
			`warning ${name}: it runs, and nothing is known of it: it is just starting, or it cannot write to status/  [trouble]`,
		];
	}
	const silence: Problem = {
		code: "trouble",
		message: "the loop runs, and has published nothing since: it hangs, or cannot write to status/",
		hint: "look for room (df) and into the log; if it hangs: live-syncd kill, then live-syncd start",
		since: state.at.wall,
		critical: true,
	};
	const all = isSilent(loop) ? [silence, ...state.problems] : state.problems;
	return all.flatMap((problem) => problemLines(name, problem));
}

const isSilent = ({ pid, ageMs }: LoopFacts<unknown>): boolean =>
	pid !== undefined && ageMs !== undefined && ageMs > staleMs;

function redoLines(
	loop: LoopFacts<RedoState>,
	state: RedoState,
	heardAgeMs: number | undefined,
): string[] {
	const { replay } = state;
	const phase = loop.pid !== undefined || replay.phase === "stopped" ? replay.phase : "ended";
	const lines = [
		row("redo log", `${state.phase}${staleness(loop)}, from ${state.peer}`),
		row("live end", `${position(state.live?.position)}${heard(heardAgeMs)}`),
		row(
			"flushed",
			`${position(state.flushed)}${behind(state.flushLagSeconds, state.flushLagBytes)}`,
		),
		row("replayed", `${position(state.replayed)}${behind(replay.lagSeconds, undefined)}`),
		row(
			"replay",
			`${phase}, ${replay.operations} operations in ${replay.runs} runs, ${replay.failedOperations} failed, ${replay.operationsAtRisk} at risk`,
		),
	];
	if (state.verified !== undefined) lines.push(row("verified", state.verified));
	return lines;
}

function ldapLines(
	loop: LoopFacts<LdapState>,
	state: LdapState,
	{ ldapHeardAgeMs, ldapAgesMs }: StatusFacts,
): string[] {
	const { installed, staged } = state;
	const inUse =
		installed === undefined ? "no copy in use yet" : ldapCopy(installed, ldapAgesMs.installed);
	const lines = [row("ldap", `${state.phase}${staleness(loop)}; ${inUse}`)];
	if (staged !== undefined && staged.id !== installed?.id) {
		lines.push(row("ldap next", `${ldapCopy(staged, ldapAgesMs.staged)}, checked and not in use`));
	}
	if (state.changeSeen !== undefined) {
		const { transactionIds, at } = state.changeSeen;
		lines.push(
			row(
				"ldap live",
				`${transactions(transactionIds)}, seen ${new Date(at).toISOString()}${ago(ldapAgesMs.changeSeen)}${heard(ldapHeardAgeMs)}`,
			),
		);
	}
	if (state.passwordsDiffer === true) {
		lines.push(row("", "the LDAP passwords in localconfig.xml of the two servers differ"));
	}
	return lines;
}

const ldapCopy = (
	{ takenAt, entries, transactionIds }: LdapSnapshot,
	ageMs: number | undefined,
): string =>
	`copy of ${new Date(takenAt).toISOString()}${ago(ageMs)}, ${entries ?? "an unknown number of"} entries, ${transactions(transactionIds)}`;

const ago = (ageMs: number | undefined): string =>
	ageMs === undefined ? "" : ` (${seconds(ageMs / 1000)} ago)`;

const row = (name: string, text: string): string => `${name.padEnd(9)} ${text}`;

const position = (at: Position | undefined): string =>
	at === undefined ? "unknown" : formatPosition(at);

const transactions = (ids: Readonly<Record<string, number>>): string =>
	Object.entries(ids)
		.map(([name, id]) => `${name} transaction ${id}`)
		.join(", ");

function staleness(loop: LoopFacts<unknown>): string {
	if (loop.pid === undefined) return ` (as it was when the loop ended)${ended(loop)}`;
	return isSilent(loop)
		? ` (as it was ${seconds((loop.ageMs ?? 0) / 1000)} ago: the loop has published nothing since)`
		: "";
}

const ended = ({ ageMs }: LoopFacts<unknown>): string =>
	ageMs === undefined ? "" : `, ${seconds(ageMs / 1000)} ago`;

const time = (at: number): string => new Date(at).toISOString();

const heard = (ageMs: number | undefined): string =>
	ageMs === undefined
		? ", the live server was not heard of"
		: `, heard ${seconds(ageMs / 1000)} ago`;

function behind(lagSeconds: number | undefined, lagBytes: number | undefined): string {
	if (lagSeconds === undefined && lagBytes === undefined) return ", lag unknown";
	const bytes = lagBytes === undefined ? "" : `${lagBytes} bytes, `;
	return `, lag ${bytes}${lagSeconds === undefined ? "seconds unknown" : seconds(lagSeconds)}`;
}

function seconds(value: number): string {
	if (value < 10) return `${value.toFixed(1)} s`;
	if (value < 120) return `${Math.round(value)} s`;
	if (value < 7200) return `${Math.round(value / 60)} min`;
	return `${(value / 3600).toFixed(1)} h`;
}

/** Some messages have the words of others in them; none of ours is so long. */
const longest = 4000;

function problemLines(loop: string, problem: Problem): string[] {
	const weight = problem.critical ? "CRITICAL" : "warning";
	const since = new Date(problem.since).toISOString();
	const message = foreignWords(problem.message, longest);
	const lines = [`${weight} ${loop}, since ${since}: ${message}  [${problem.code}]`];
	if (problem.hint !== undefined) lines.push(`  try: ${problem.hint}`);
	return lines;
}
