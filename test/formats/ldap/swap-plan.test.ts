import assert from "node:assert/strict";
import { test } from "node:test";
import {
	type Generation,
	planInstall,
	planRepair,
	planRollback,
	type Rename,
	type SwapJournal,
} from "../../../src/formats/ldap/swap-plan.ts";

/** What lies under each name. */
type Disk = Partial<Record<Generation, string>>;

const present = (disk: Disk): Set<Generation> => new Set(Object.keys(disk) as Generation[]);

/** Carries renames out, but only the first `steps` of them: then the power goes. */
function carryOut(disk: Disk, renames: readonly Rename[], steps: number): Disk {
	const after = { ...disk };
	for (const { from, to } of renames.slice(0, steps)) {
		assert.ok(after[from] !== undefined, `${from} is there to be renamed`);
		assert.equal(after[to], undefined, `${to} is free, or a rename would fail`);
		after[to] = after[from];
		delete after[from];
	}
	return after;
}

const starts: Disk[] = [
	{ current: "old", next: "new", previous: "older" },
	{ current: "old", next: "new" },
];

/** Repairs, and lets the power go again after each number of renames, until one comes through. */
function everyRepair(disk: Disk, journal: SwapJournal | undefined): Disk[] {
	const { renames, now } = planRepair(journal, present(disk));
	const cut = renames.flatMap((_, steps) =>
		steps === 0 ? [] : everyRepair(carryOut(disk, renames, steps), journal),
	);
	const done = carryOut(disk, renames, renames.length);
	assert.equal(done.current, now, "the plan says what it leads to");
	return [done, ...cut];
}

for (const start of starts) {
	const kept = start.previous === undefined ? "without" : "with";
	test(`an install cut short anywhere is repaired to one whole generation, ${kept} an older copy`, () => {
		const renames = planInstall(present(start));
		for (let steps = 0; steps <= renames.length; steps++) {
			const disk = carryOut(start, renames, steps);
			for (const repaired of everyRepair(disk, { phase: "install", snapshot: "s" })) {
				const done = steps === renames.length;
				assert.equal(repaired.current, done ? "new" : "old");
				// There is always one to go back to, where there was one.
				assert.equal(repaired.previous, done ? "old" : start.previous);
			}
		}
	});

	test(`a rollback cut short anywhere ends on the old generation, ${kept} an older copy`, () => {
		const installed = carryOut(start, planInstall(present(start)), 3);
		const renames = planRollback(present(installed));
		for (let steps = 0; steps <= renames.length; steps++) {
			const disk = carryOut(installed, renames, steps);
			for (const repaired of everyRepair(disk, { phase: "rollback", snapshot: "s" })) {
				assert.equal(repaired.current, "old");
				assert.equal(repaired.previous, start.previous);
				assert.equal(repaired.refused, "new");
			}
		}
	});
}

test("where nothing was cut short nothing is done", () => {
	const { renames } = planRepair(undefined, present({ current: "old", previous: "older" }));
	assert.deepEqual(renames, []);
});

test("a directory that is gone without a journal comes back from the previous copy", () => {
	const { renames, now } = planRepair(undefined, present({ previous: "old", next: "half" }));
	assert.deepEqual(renames, [{ from: "previous", to: "current" }]);
	assert.equal(now, "old");
});
