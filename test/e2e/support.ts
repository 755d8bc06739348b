import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import type { LdapState, RedoState } from "../../src/formats/state.ts";
import { readPublished } from "../../src/services/publish.ts";
import { countExecutions } from "../pair/committed.ts";
import type { Host } from "../pair/host.ts";
import type { Pair } from "../pair/pair.ts";
import { signal } from "../pair/processes.ts";
import { until } from "../pair/until.ts";

/**
 * Quick reactions, so that a test need not wait long; nothing here is a limit that is asserted. What ends an
 * attempt is longer than any pause of a slow machine, or the program would rightly see trouble there.
 */
export const quick = {
	heartbeat_interval: "200ms",
	connect_timeout: "60s",
	link_timeout: "30s",
	reconnect_max: "1s",
	replay_interval: "1s",
	replay_settle: "200ms",
	ldap_quiet: "100ms",
	ldap_interval: "500ms",
} as const;

/** For a link that falls silent in the course of a test. */
export const noticed = { link_timeout: "2s" } as const;

/** A pair for which `stop` need not wait for long either, since Zimbra's start looks back less far. */
export const quickly = {
	settings: quick,
	zimbraSettings: { zimbraRedoLogCrashRecoveryLookbackSec: "2" },
} as const;

/** Nothing is replayed before `stop`: the store is as far behind as it can be. */
export const rarely = { ...quickly, settings: { ...quick, replay_interval: "1h" } } as const;

/** Runs live-syncd on a host and gives what it printed; fails unless it exits with `code`. */
export async function liveSyncd(host: Host, words: string, code = 0): Promise<string> {
	const result = await host.liveSyncd(...words.split(" "));
	const said = `${result.stdout}${result.stderr}`;
	assert.equal(
		result.code,
		code,
		`live-syncd ${words} exited with ${result.code}: ${said}${tail(host)}`,
	);
	return said;
}

/** live-syncd left running, with what it has printed so far. */
export function begin(host: Host, words: string) {
	const child = host.spawnLiveSyncd(...words.split(" "));
	let said = "";
	for (const output of [child.stdout, child.stderr]) {
		output?.setEncoding("utf8").on("data", (text: string) => {
			said += text;
		});
	}
	const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
	return { child, said: () => said, ended };
}

/** zmplayredo is there: a loop says "running" before, while it starts what that needs, and can be stopped then. */
export const plays = (host: Host): boolean =>
	host.processes().some(({ command }) => /zmplayredo/.test(command));

/** The end of a host's log, for the message of a failed test. */
export function tail(host: Host): string {
	const file = host.path("live_sync/log/live_sync.log");
	return existsSync(file) ? `\n${readFileSync(file, "utf8").slice(-2000)}` : "";
}

/** What the redo loop has published: it is asked for so often that no `status` is started for it. */
export const redoState = (host: Host, base = usualBase(host)): Promise<RedoState | undefined> =>
	readPublished<RedoState>(`${base}/status/redo.json`, 1);

export const ldapState = (host: Host): Promise<LdapState | undefined> =>
	readPublished<LdapState>(`${usualBase(host)}/status/ldap.json`, 1);

const usualBase = (host: Host): string => host.path("live_sync");

/** redo.log and the archive of a host, by name. */
export function redologs(host: Host, redolog = host.path("redolog")): Map<string, Buffer> {
	const archive = `${redolog}/archive`;
	const files = readdirSync(archive).map((name): [string, string] => [name, `${archive}/${name}`]);
	const current = `${redolog}/redo.log`;
	if (existsSync(current)) files.push(["redo.log", current]);
	return new Map(files.map(([name, path]) => [name, readFileSync(path)]));
}

/**
 * Whether a mirror has all of a live server's redo logs, now.
 * @param from 512 leaves the headers out, which a clean stop rewrites
 */
export function holds(mirror: Host, live: Host, from = 0): boolean {
	try {
		const there = redologs(mirror);
		return [...redologs(live)].every(([name, bytes]) =>
			there.get(name)?.subarray(from).equals(bytes.subarray(from)),
		);
	} catch {
		return false; // a file was renamed between two looks
	}
}

/** Liveness and invariant 1: the mirror comes to have the live server's redo logs, byte for byte. */
export async function caughtUp(
	{ a, b }: Pair,
	of: { readonly redolog?: string; readonly base?: string } = {},
): Promise<void> {
	let difference = "";
	const same = () => {
		try {
			const [live, mirror] = [redologs(a), redologs(b, of.redolog)];
			difference = [...live]
				.filter(([name, bytes]) => mirror.get(name)?.equals(bytes) !== true)
				.map(([name, bytes]) => `${name} ${bytes.length}/${mirror.get(name)?.length}`)
				.join(", ");
			return difference === "";
		} catch {
			return false; // a rollover between two looks
		}
	};
	await until("the mirror has the live server's redo logs", same).catch((error: unknown) => {
		throw new Error(`${String(error)}: ${difference}${tail(b)}`);
	});
	// It publishes once a second; a stop that finds nothing heard does not know what is missing.
	await until(
		"the mirror has said that it hears the live server",
		async () => (await redoState(b, of.base))?.live !== undefined || loops(b, "redo").length === 0,
	);
}

/** The mirror's store is brought to the end of the live log by the running loops. */
export async function replayed(pair: Pair): Promise<void> {
	const { sequence, offset } = await pair.a.mailbox.position();
	await until("everything is replayed", async () => {
		const at = (await redoState(pair.b))?.replayed;
		return (
			at !== undefined &&
			(at.sequence > sequence || (at.sequence === sequence && at.offset >= offset))
		);
	}).catch((error: unknown) => {
		throw new Error(`${String(error)}${tail(pair.b)}`);
	});
}

type LoopName = "redo" | "ldap";

/** The loops of that name. What is about to become a command that one runs bears its name for a moment too. */
export function loops(host: Host, name: LoopName): number[] {
	const named = host.processes().filter(({ command }) => command.includes(` loop ${name}`));
	const ofLoop = (parent: number) => named.some(({ pid }) => pid === parent);
	return named.filter(({ parent }) => !ofLoop(parent)).map(({ pid }) => pid);
}

export function killLoop(host: Host, name: LoopName): void {
	const [pid] = loops(host, name);
	assert.ok(pid !== undefined && signal(pid, "SIGKILL"), `the ${name} loop runs`);
}

/** Ends the loops as a machine does that is reset; one may just have ended by itself. */
export function killLoops(mirror: Host): void {
	for (const name of ["redo", "ldap"] as const) {
		for (const pid of loops(mirror, name)) signal(pid, "SIGKILL");
	}
}

/** Every committed operation was executed once on the mirror. */
export function assertExecutedOnce({ a, b }: Pair): void {
	const counts = countExecutions(a.committed(), b.executions());
	const wrong = [...counts].filter(([, count]) => count !== 1);
	assert.deepEqual(wrong, [], "operations that were not executed exactly once");
}

/** Nothing of live-syncd or sync-commands is left on either host. */
export async function assertNothingRuns({ a, b }: Pair): Promise<void> {
	const left = () => [...a.strayProcesses(), ...b.strayProcesses()];
	await until("no process is left", () => left().length === 0).catch((error: unknown) => {
		throw new Error(
			`${String(error)}: ${left()
				.map(({ command }) => command)
				.join("; ")}`,
		);
	});
}

export const someone = "user1@example.net";

/** Mail for one, now and then for several, with rollovers in between. */
export async function deliver({ a }: Pair, count: number, rolloverEvery = 0): Promise<void> {
	for (let i = 1; i <= count; i++) {
		const size = 500 + ((i * 2677) % 9000);
		const to = i % 5 === 0 ? [someone, "user2@example.net", "user3@example.net"] : [someone];
		await a.mailbox.deliver({ to, size });
		if (rolloverEvery > 0 && i % rolloverEvery === 0) await a.mailbox.rollover();
	}
}

/** `start` on a host is refused with that code, says what to do, and changes nothing of the redo log. */
export async function refused(host: Host, code: string): Promise<string> {
	const before = redologs(host);
	const said = await liveSyncd(host, "start", 1);
	assert.match(said, new RegExp(`\\[${code}\\]`));
	assert.match(said, /\n {2}try: /);
	assert.deepEqual(redologs(host), before);
	assert.deepEqual(
		host.processes().filter(({ command }) => / loop /.test(command)),
		[],
	);
	return said;
}

/** The redo loop alone, as `start` runs it, without the LDAP that these tests do not need. */
export async function following(pair: Pair): Promise<AsyncDisposable> {
	const loop = await redoLoop(pair);
	await until("the mirror streams", async () => (await redoState(pair.b))?.phase === "streaming");
	return loop;
}

/** The same, without a word about how far it has come. */
export async function redoLoop(pair: Pair): Promise<AsyncDisposable> {
	const loop = pair.b.spawnLiveSyncd("loop", "redo");
	const ended = new Promise((resolve) => loop.once("exit", resolve));
	return {
		async [Symbol.asyncDispose]() {
			loop.kill("SIGTERM");
			await ended;
		},
	};
}
