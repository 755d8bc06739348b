/**
 * A million damaged redo logs through the record walker; ends with 1 at the first that crashes it,
 * makes it read what is not there, or makes it hang.
 *
 *     node test/drills/walker-fuzz.ts [cases] [first seed]
 */
import { fuzzWalk } from "../formats/redolog/walker-fuzz.ts";

const cases = Number(process.argv[2] ?? 1_000_000);
const first = Number(process.argv[3] ?? Date.now() % 2 ** 31);
const started = performance.now();
let slowest = { ms: 0, seed: first };
let mostMemory = 0;

for (let seed = first; seed < first + cases; seed++) {
	const before = performance.now();
	try {
		fuzzWalk(seed);
	} catch (error) {
		console.error(`seed ${seed}`, error);
		process.exit(1);
	}
	const ms = performance.now() - before;
	if (ms > slowest.ms) slowest = { ms, seed };
	if (seed % 10_000 === 0) mostMemory = Math.max(mostMemory, process.memoryUsage().rss);
}

const seconds = ((performance.now() - started) / 1000).toFixed(0);
console.log(
	`${cases} cases from seed ${first} in ${seconds} s; ` +
		`slowest ${slowest.ms.toFixed(1)} ms (seed ${slowest.seed}), ` +
		`memory at most ${Math.round(mostMemory / 1e6)} MB`,
);
