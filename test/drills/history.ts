/**
 * An hour of a mail server's life in fast motion, with a mirror that is stopped, killed, cut off and
 * started again, and a live server that rolls over and reboots: every committed operation must be
 * executed once on the mirror. Prints executions per operation, and how long it took from the answer
 * to a client until the operation was in the mirror's store. In the end the mirror's store must be
 * what one single run over the whole history makes of an empty one. Ends with 1 where it is not.
 *
 *     node test/drills/history.ts [rounds]
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Traffic } from "../demo/traffic.ts";
import { caughtUp, killLoops, liveSyncd, quick, redoState } from "../e2e/support.ts";
import { countExecutions } from "../pair/committed.ts";
import { endsSoon } from "../pair/ends-soon.ts";
import { createPair, type Pair } from "../pair/pair.ts";
import { replayAtOnce } from "../pair/replay-at-once.ts";
import { compareStores } from "../pair/store-dump.ts";
import { until } from "../pair/until.ts";

const rounds = Number(process.argv[2] ?? 20);
const people = ["user1@example.net", "user2@example.net", "user3@example.net"];

/** What happens in a round, while mail goes on; the mirror follows again afterwards. */
const events: readonly [string, (pair: Pair, traffic: Traffic) => Promise<void>][] = [
	["nothing special", async () => await sleep(1500)],
	[
		"the mirror is stopped in the middle of a log and started again",
		async ({ b }) => {
			await liveSyncd(b, "stop");
			await sleep(500);
			await liveSyncd(b, "start");
		},
	],
	[
		"the link is cut for a while",
		async ({ links }) => {
			links.toA.refuse();
			await sleep(1500);
			links.toA.heal();
		},
	],
	[
		"both loops are killed",
		async ({ b }) => {
			killLoops(b);
			await liveSyncd(b, "start");
		},
	],
	[
		"the live server dies in the middle of a record and reboots",
		async ({ a }, traffic) => {
			await traffic.end();
			await a.crash({ tornAt: 2 });
			await a.boot({ zimbra: true });
			traffic.start(60);
		},
	],
];

async function drill(pair: Pair): Promise<boolean> {
	const { a, b } = pair;
	await liveSyncd(b, "start");
	const traffic = new Traffic(a, people);
	traffic.start(60);
	for (let round = 0; round < rounds; round++) {
		const [what, happen] = events[round % events.length] ?? ["", async () => undefined];
		console.log(`round ${round + 1} of ${rounds}: ${what}`);
		await sleep(1000);
		await a.mailbox.rollover();
		await happen(pair, traffic);
	}
	await traffic.end();
	await caughtUp(pair);
	const end = await a.mailbox.position();
	await until("hot replay comes to the end", async () => {
		const at = (await redoState(b))?.replayed;
		return at?.sequence === end.sequence && at.offset >= end.offset;
	});
	await liveSyncd(b, "stop");
	return await report(pair);
}

async function report({ a, b }: Pair): Promise<boolean> {
	const counts = countExecutions(a.committed(), b.executions());
	const arrived = new Map(b.executions().map(({ transaction, time }) => [transaction, time]));
	const executions = [...counts.values()].reduce((sum, count) => sum + count, 0);
	const wrong = [...counts].filter(([, count]) => count !== 1);
	const delays = a.mailbox.acknowledged
		.flatMap(({ transaction, at }) => {
			const time = arrived.get(transaction);
			return time === undefined ? [] : [(time - at) / 1000];
		})
		.sort((one, other) => one - other);
	const percentile = (share: number) =>
		(delays[Math.min(delays.length - 1, Math.floor(delays.length * share))] ?? 0).toFixed(1);
	console.log(`committed operations on the live server: ${counts.size}`);
	console.log(`executions per committed operation: ${(executions / counts.size).toFixed(3)}`);
	console.log(
		`from the answer to the mirror's store: median ${percentile(0.5)} s, p95 ${percentile(0.95)} s, most ${percentile(1)} s (replay_interval ${quick.replay_interval}; outages included)`,
	);
	for (const [transaction, count] of wrong.slice(0, 10)) {
		console.log(`  ${transaction} was executed ${count} times`);
		for (const each of b.executions().filter((one) => one.transaction === transaction)) {
			console.log(`    ${new Date(each.time).toISOString()} ${each.by} ${each.result}`);
		}
	}
	const mirror = await b.dumpStore();
	// After a crash not even the live server's own store is that: what its database had not flushed is
	// gone, and its recovery executes the last seconds again.
	const fromLive = compareStores(await a.dumpStore(), mirror);
	console.log(
		`where the live server's own store is not the mirror's: ${fromLive.length} differences`,
	);
	for (const difference of fromLive.slice(0, 10)) console.log(`  ${difference}`);
	const differences = compareStores(await replayAtOnce(b), mirror);
	console.log(
		`differences from a store that got the whole history in one run: ${differences.length}`,
	);
	for (const difference of differences.slice(0, 10)) console.log(`  ${difference}`);
	const crashed = rounds >= events.length;
	return wrong.length === 0 && differences.length === 0 && (crashed || fromLive.length === 0);
}

await using pair = await createPair({ ldap: true, proxy: true, settings: quick });
process.exitCode = (await drill(pair)) ? 0 : 1;
endsSoon();
