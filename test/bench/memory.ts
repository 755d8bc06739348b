import { setTimeout as sleep } from "node:timers/promises";
import { until } from "../pair/until.ts";
import { growLog } from "./mails.ts";
import { builtPair, FlushedPosition, noReplay, startMirror } from "./mirror.ts";
import { megabytes, type Say, type Size, short } from "./numbers.ts";
import { loopPid, peakMemory, served } from "./processes.ts";

/** The most memory of each process, after a large catch-up and a few copies of LDAP. */
export async function benchMemory(size: Size, say: Say): Promise<void> {
	const bytes = size === "quick" ? 40e6 : 300e6;
	await using pair = await builtPair({
		ldap: true,
		settings: { ...noReplay, ldap_interval: "1s" },
	});
	const { a, b } = pair;
	const total = growLog(a.path("redolog/redo.log"), bytes, "text");
	const peaks = new Map<string, number>();
	const note = (name: string, pid: number | undefined) => {
		const peak = pid === undefined ? undefined : peakMemory(pid);
		if (peak !== undefined) peaks.set(name, Math.max(peak, peaks.get(name) ?? 0));
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
	say(`most memory (VmHWM), after a catch-up of ${short(megabytes(bytes))} MB and copies of LDAP:`);
	for (const [name, peak] of [...peaks].toSorted(([one], [other]) => one.localeCompare(other)))
		say(`  ${name.padEnd(30)} ${short(peak)} MB`);
}
