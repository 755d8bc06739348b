import assert from "node:assert/strict";
import { test } from "node:test";
import {
	type LimitFacts,
	type ReplayLimit,
	replayLimit,
} from "../../../src/formats/replay/limit.ts";

const at = (offset: number) => ({ sequence: 7, offset });
const cases: readonly [title: string, facts: LimitFacts, limit: ReplayLimit][] = [
	[
		"LDAP behind: up to what it covers",
		{ upTo: "settled", settled: at(9), coverage: at(5) },
		at(5),
	],
	[
		"LDAP ahead: up to what has settled",
		{ upTo: "settled", settled: at(5), coverage: at(9) },
		at(5),
	],
	[
		"nobody mirrors LDAP: up to what has settled",
		{ upTo: "settled", settled: at(5), coverage: "all" },
		at(5),
	],
	[
		"coverage unknown: nowhere",
		{ upTo: "settled", settled: at(5), coverage: undefined },
		"ldap unknown",
	],
	[
		"nothing has settled: nowhere",
		{ upTo: "settled", settled: undefined, coverage: at(9) },
		"nothing settled",
	],
	["everything: all that is there", { upTo: "everything", settled: at(1), coverage: at(1) }, "all"],
];
for (const [title, facts, limit] of cases) {
	test(title, () => assert.deepEqual(replayLimit(facts), limit));
}
