import assert from "node:assert/strict";
import { test } from "node:test";
import { judgeRun, type RunFacts, type RunOutcome } from "../../../src/formats/replay/outcome.ts";

const quiet = { failed: [], conflicts: [], dropped: [], oddities: [] };
const failure = { transaction: "7.1", operation: "CopyItem", mailboxId: 3, text: "Unable …" };
const file = { path: "/slices/1/a.log", mayDrop: false };

const good: RunFacts = {
	files: [file],
	evidence: { exitCode: 0, processed: [file.path], started: true, said: "" },
	log: quiet,
	sameBoot: true,
	sameDatabase: true,
	ended: undefined,
};
const evidence = (changes: Partial<RunFacts["evidence"]>) => ({
	evidence: { ...good.evidence, ...changes },
});

const cases: readonly [title: string, changes: Partial<RunFacts>, kind: RunOutcome["kind"]][] = [
	["exit 0, every file, nothing logged: done", {}, "done"],
	[
		"exit 0 with failed operations: done, and they are named",
		{ log: { ...quiet, failed: [failure] } },
		"done",
	],
	["exit 0, but mailbox.log cannot be read: unknown", { log: undefined }, "unknown"],
	["exit 0, but fewer files than given: unknown", { files: [file, file] }, "unknown"],
	["exit 0 without a single file: unknown", evidence({ processed: [] }), "unknown"],
	[
		"exit 0, but the rest of a file dropped: unknown",
		{ log: { ...quiet, dropped: ["x"] } },
		"unknown",
	],
	[
		"the rest of a file dropped where that was to be expected: done",
		{ log: { ...quiet, dropped: ["x"] }, files: [{ ...file, mayDrop: true }] },
		"done",
	],
	["exit 0, but the database died meanwhile: unknown", { sameDatabase: false }, "unknown"],
	["exit 0 before the machine was restarted: unknown", { sameBoot: false }, "unknown"],
	[
		"a mailbox id conflict with exit 0: conflict",
		{ log: { ...quiet, conflicts: ["3 is 4"] } },
		"conflict",
	],
	[
		"a mailbox id conflict in a killed run: conflict",
		{ log: { ...quiet, conflicts: ["3 is 4"] }, ...evidence({ exitCode: undefined }) },
		"conflict",
	],
	[
		"exit 1 before the first file: nothing executed",
		evidence({ exitCode: 1, processed: [] }),
		"nothing executed",
	],
	[
		"killed before the first file: nothing executed",
		evidence({ exitCode: undefined, processed: [] }),
		"nothing executed",
	],
	[
		"never started: nothing executed",
		evidence({ exitCode: undefined, processed: [], started: false }),
		"nothing executed",
	],
	[
		"ended by us before the first file: nothing executed",
		{ ended: "no progress", ...evidence({ exitCode: undefined, processed: [] }) },
		"nothing executed",
	],
	[
		"killed before its first file, but the machine was restarted: unknown",
		{ sameBoot: false, ...evidence({ exitCode: undefined, processed: [] }) },
		"unknown",
	],
	["exit 1 in the middle: unknown", evidence({ exitCode: 1 }), "unknown"],
	["killed in the middle: unknown", evidence({ exitCode: undefined }), "unknown"],
	["ended by us in the middle: unknown", { ended: "no progress" }, "unknown"],
];
for (const [title, changes, kind] of cases) {
	test(title, () => {
		assert.equal(judgeRun({ ...good, ...changes }).kind, kind);
	});
}

test("the words of a zmplayredo that refused are kept", () => {
	const said = "Error: mailboxd still running.";
	const outcome = judgeRun({ ...good, ...evidence({ exitCode: 1, processed: [], said }) });
	assert.deepEqual(outcome, { kind: "nothing executed", why: `zmplayredo exited with 1: ${said}` });
});
