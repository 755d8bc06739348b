/**
 * `npm run bench [-- --quick] [-- PART …]`: what the built executables cost and how far the mirror is
 * behind, on a pair of simulated hosts, beside plain ssh on the same machine in the same run.
 * docs/performance.md tells what the figures mean.
 */
import { cpus, totalmem } from "node:os";
import { benchCatchUp } from "./catch-up.ts";
import { benchFlushLag } from "./flush-lag.ts";
import { benchLdap } from "./ldap.ts";
import { benchMemory } from "./memory.ts";
import type { Say, Size } from "./numbers.ts";
import { benchReplay } from "./replay-delay.ts";
import { benchStartUp } from "./start-up.ts";

const parts: Readonly<Record<string, (size: Size, say: Say) => Promise<void>>> = {
	startup: benchStartUp,
	lag: benchFlushLag,
	catchup: benchCatchUp,
	memory: benchMemory,
	replay: benchReplay,
	ldap: (size, say) => benchLdap(size === "quick" ? { changes: 3, entries: 1000, say } : { say }),
};

const say: Say = (line) => process.stdout.write(`${line}\n`);
const words = process.argv.slice(2);
const size: Size = words.includes("--quick") ? "quick" : "whole";
const wanted = words.filter((word) => word !== "--quick");
const unknown = wanted.filter((word) => parts[word] === undefined);
if (unknown.length > 0) {
	say(`no such part: ${unknown.join(", ")}; there are ${Object.keys(parts).join(", ")}`);
	process.exit(2);
}
say(
	`${cpus().length} processors (${cpus()[0]?.model}), ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}`,
);
for (const [name, bench] of Object.entries(parts)) {
	if (wanted.length > 0 && !wanted.includes(name)) continue;
	say("");
	await bench(size, say);
}
process.exit(0);
