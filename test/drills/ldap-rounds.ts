/**
 * LDAP rounds under load: `node test/drills/ldap-rounds.ts [ROUNDS] [--plain] [--entries=N]`.
 *
 * The live slapd takes hundreds of writes per second; round after round the mirror must serve exactly
 * one state that the live directory had, and every installed copy must read whole. Mail arrives
 * meanwhile, and how far the mirror's redo log is behind is compared with a time without LDAP rounds.
 * Exits 0 only if no copy was torn. Measured times are printed, not judged.
 */
import { readFileSync, statSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import type { RedoState } from "../../src/formats/state.ts";
import { FlushedPosition } from "../bench/mirror.ts";
import {
	checkWhole,
	Directory,
	installedCopy,
	ldapPair,
	readLog,
	readState,
	waitFor,
} from "../loops/ldap/support.ts";
import { endsSoon } from "../pair/ends-soon.ts";
import type { Host } from "../pair/host.ts";
import { LdapLoad, whichState } from "./ldap-load.ts";

const { values, positionals } = parseArgs({
	allowPositionals: true,
	options: { plain: { type: "boolean" }, entries: { type: "string" }, rate: { type: "string" } },
});
const rounds = Number(positionals[0] ?? 5);
const entries = Number(values.entries ?? 15_000);
const rate = Number(values.rate ?? 400);
const say = (text: string) => process.stdout.write(`${text}\n`);

const mode = values.plain === true ? "plain files with fsync" : "writemap and nosync";
say(`ldap-rounds: ${rounds} rounds, ${entries} entries, up to ${rate} writes/s, ${mode}`);
await using pair = await ldapPair({
	ldap: { writemap: values.plain !== true, entries },
	settings: { ldap_quiet: "50ms", ldap_interval: "100ms" },
});
const { a, b } = pair;
const started = await b.liveSyncd("start");
if (started.code !== 0) throw new Error(`start: ${started.stdout}${started.stderr}`);
await waitFor("the first copy", b, () => installedCopy(b), 180_000);
await using _mail = mailTraffic(a);
await sleep(1000);
const quiet = await flushLag(() => sleep(rounds < 50 ? 10_000 : 60_000));

const mirror = new Directory(b);
const live = new Directory(a, "root");
let checked = 0;
let lastState = 0;
const sizes: number[] = [];
const roundTimes: number[] = [];
const began = performance.now();
await using load = new LdapLoad(live, rate);
const busy = await flushLag(async () => {
	let last = installedCopy(b)?.id;
	while (checked < rounds) {
		const copy = await waitFor("a new copy", b, () => nextCopy(b, last), 300_000);
		const state = await stateOf(copy.id);
		last = copy.id;
		if (state === undefined) continue; // the next copy was there before all was read
		if (state < lastState || state > load.sent) {
			throw new Error(`copy ${copy.id} holds state ${state}, after ${lastState}, of ${load.sent}`);
		}
		lastState = state;
		checked += 1;
		const round = readState(b)?.lastRound;
		if (round !== undefined) {
			sizes.push(round.bytesReceived);
			roundTimes.push(round.tookMs);
		}
		if (checked % 10 === 0 || checked === rounds) {
			const seconds = Math.round((performance.now() - began) / 1000);
			say(`  ${checked} copies whole after ${seconds} s, newest state ${state} of ${load.sent}`);
		}
	}
});
const seconds = (performance.now() - began) / 1000;
await load[Symbol.asyncDispose]();

// With the load over the mirror comes to the very end, and the tools read what is in use.
const end = load.sent;
await waitFor(
	"the last change",
	b,
	async () => {
		const found = await search();
		return found !== undefined && whichState(found) === end;
	},
	120_000,
);
await waitFor("quiet", b, () => readState(b)?.phase === "watching");
const count = await checkWhole(b);
if (count !== installedCopy(b)?.entries) throw new Error(`${count} entries in the end`);
const broken = readLog(b).match(/redo: link: .*/g) ?? [];
const failures = readLog(b).match(/ is not used: .*/g) ?? [];
await b.liveSyncd("kill");

say(`copies in use, each found whole: ${checked}; refused before use: ${failures.length}`);
for (const each of new Set(failures)) say(`  refused: ${each}`);
for (const each of broken) say(`  ${each}`);
say(`writes: ${end} in ${seconds.toFixed(0)} s, ${(end / seconds).toFixed(0)} per second`);
say(
	`size of the directory: ${mebibytes(sizeOf(a))} MiB; sent for each round: ${spread(sizes.map(mebibytes))} MiB`,
);
say(`one round: ${spread(roundTimes)} ms`);
say(`redo log flush lag without LDAP rounds: ${spread(quiet)} ms`);
say(`redo log flush lag with LDAP rounds:    ${spread(busy)} ms`);
endsSoon();

function nextCopy(host: Host, last: string | undefined) {
	const copy = installedCopy(host);
	return copy !== undefined && copy.id !== last && copy;
}

async function search() {
	const found = await mirror.search("", "(|(title=*)(uid=extra*))", "uid", "title");
	return found?.length === 0 ? undefined : found;
}

/** The state of one copy, if it served from the first to the last entry. */
async function stateOf(id: string): Promise<number | undefined> {
	while (installedCopy(b)?.id === id) {
		const found = await search();
		if (found === undefined) await sleep(20);
		else if (installedCopy(b)?.id === id) return whichState(found);
	}
	return undefined;
}

/** A message of 20 KB about every 50 ms. */
function mailTraffic({ mailbox }: Host): AsyncDisposable {
	let ending = false;
	const running = (async () => {
		while (!ending) {
			await mailbox.deliver({ to: ["user1@example.net"], size: 20_000 });
			await sleep(50);
		}
	})();
	return {
		async [Symbol.asyncDispose]() {
			ending = true;
			await running;
		},
	};
}

/** While `work` goes on: ms from the live log having a size to the mirror having flushed it. */
async function flushLag(work: () => Promise<unknown>): Promise<number[]> {
	using flushed = new FlushedPosition(pair);
	const waits: number[] = [];
	let over = false;
	const sampling = (async () => {
		while (!over) {
			const size = statSync(a.path("redolog/redo.log")).size;
			const at = performance.now();
			while (!over && flushed.get() < size) await sleep(2);
			if (!over) waits.push(Math.round(performance.now() - at));
			await sleep(100);
		}
	})();
	try {
		await work();
	} finally {
		over = true;
		await sampling;
	}
	const state: RedoState = JSON.parse(readFileSync(b.path("live_sync/status/redo.json"), "utf8"));
	if (state.phase !== "streaming") say(`  (the redo loop is ${state.phase})`);
	return waits;
}

function sizeOf(host: Host): number {
	return statSync(host.path("data/ldap/mdb/db/data.mdb")).blocks * 512;
}

function mebibytes(bytes: number): number {
	return Math.round((bytes / 2 ** 20) * 100) / 100;
}

function spread(numbers: readonly number[]): string {
	const sorted = numbers.toSorted((one, other) => one - other);
	const at = (part: number) =>
		sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))];
	return `min ${sorted[0]}, median ${at(0.5)}, 95% ${at(0.95)}, 99% ${at(0.99)}, 99.9% ${at(0.999)}, max ${sorted.at(-1)} (${sorted.length})`;
}
