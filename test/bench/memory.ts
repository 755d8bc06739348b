import { setTimeout as sleep } from "node:timers/promises";
import { until } from "../pair/until.ts";
import { growLog } from "./mails.ts";
import { builtPair, FlushedPosition, noReplay, startMirror } from "./mirror.ts";
import { megabytes, type Say, type Size, short } from "./numbers.ts";
import { loopPid, type Memory, memoryOf, served } from "./processes.ts";

/** The most memory of each process, after a large catch-up and a few copies of LDAP. */
export async function benchMemory(size: Size, say: Say): Promise<void> {
	const bytes = size === "quick" ? 40e6 : 300e6;
	await using pair = await builtPair({
		ldap: true,
		settings: { ...noReplay, ldap_interval: "1s" },
	});
	const { a, b } = pair;
	const total = growLog(a.path("redolog/redo.log"), bytes, "text");
	const most = new Map<string, Memory>();
	const note = (name: string, pid: number | undefined) => {
		const now = pid === undefined ? undefined : memoryOf(pid);
		if (now === undefined) return;
		const { peak, own } = most.get(name) ?? now;
		most.set(name, { peak: Math.max(peak, now.peak), own: Math.max(own, now.own) });
	};
	const look = () => {
		note("live-syncd loop redo", loopPid(b, "redo"));
		note("live-syncd loop ldap", loopPid(b, "ldap"));
		for (const { verb, pid } of served(a)) note(`sync-commands ${verb}`, pid);
	};
	await startMirror(pair);
	using position = new FlushedPosition(pair);
	await until("caught up", () => {
		look();
		return position.get() >= total;
	});
	for (let i = 0; i < 3; i++) {
		await a.createAccount(`memory${i}@example.net`);
		for (let j = 0; j < 40; j++) {
			look();
			await sleep(50);
		}
	}
	say(
		`most memory after a catch-up of ${short(megabytes(bytes))} MB and copies of LDAP: own (RssAnon, as seen now and then), and with shared pages (VmHWM):`,
	);
	for (const [name, { own, peak }] of [...most].toSorted(([one], [two]) => one.localeCompare(two)))
		say(`  ${name.padEnd(30)} ${short(own)} MB, ${short(peak)} MB`);
}
