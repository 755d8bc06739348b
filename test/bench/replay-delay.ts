import { setTimeout as sleep } from "node:timers/promises";
import { countExecutions } from "../pair/committed.ts";
import { until } from "../pair/until.ts";
import { builtPair, startMirror } from "./mirror.ts";
import { type Say, type Size, spread } from "./numbers.ts";

const users = ["user1@example.net", "user2@example.net", "user3@example.net"];

/** From the commit on the live server until the same operation is carried out in the mirror's store. */
export async function benchReplay(size: Size, say: Say): Promise<void> {
	const [count, interval] = size === "quick" ? [30, "2s"] : [300, "2s"];
	await using pair = await builtPair({ ldap: true, settings: { replay_interval: interval } });
	const { a, b } = pair;
	await startMirror(pair);
	for (let i = 0; i < count; i++) {
		const to = i % 5 === 0 ? users : [users[i % users.length] ?? ""];
		await a.mailbox.deliver({ to, size: 500 + ((i * 2677) % 9000) });
		if (i % 100 === 99) await a.mailbox.rollover();
		await sleep(Math.random() * 200);
	}
	const committed = a.committed();
	const counts = () => [...countExecutions(committed, b.executions()).values()];
	await until("all is replayed", () => counts().every((count) => count > 0));
	const live = new Map(a.executions().map((each) => [each.transaction, each.time]));
	const delays = b.executions().flatMap(({ transaction, time }) => {
		const then = live.get(transaction);
		return then === undefined ? [] : [(time - then) / 1000];
	});
	say(`replay, replay_interval ${interval}, replay_settle 1s:`);
	say(
		`  ${counts().length} committed operations, executions of each on the mirror: ${Math.min(...counts())} to ${Math.max(...counts())}`,
	);
	say(`  from live store to mirror store, s: ${spread(delays)}`);
}
