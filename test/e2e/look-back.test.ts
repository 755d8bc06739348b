import assert from "node:assert/strict";
import { appendFileSync } from "node:fs";
import { test } from "node:test";
import { createPair, type Pair } from "../pair/pair.ts";
import { assertExecutedOnce, deliver, liveSyncd, quick, replayed } from "./support.ts";

const setting = "zimbraRedoLogCrashRecoveryLookbackSec";

/** A mirror that has replayed the mail of the last moment, and a live server that is dead; gives that moment. */
async function liveDied(pair: Pair): Promise<number> {
	await liveSyncd(pair.b, "start");
	await deliver(pair, 1);
	await replayed(pair); // with all that has to come up first, which may take longer than the look back
	const lastMail = Date.now();
	await deliver(pair, 3);
	await replayed(pair);
	await pair.a.crash();
	return lastMail;
}

test("where Zimbra's start-up recovery is set to look back further, stop waits for so long, and it executes nothing again", async () => {
	await using pair = await createPair({
		ldap: true,
		settings: quick,
		zimbraSettings: { [setting]: "40" },
	});
	const { b } = pair;
	const lastMail = await liveDied(pair);
	const died = Date.now();
	const said = await liveSyncd(b, "stop");
	const ended = Date.now();
	assert.ok(ended >= lastMail + 40_000, "it has waited");
	const [, until] = /Waiting \d+ s: Zimbra, started before (\S+),/.exec(said) ?? [];
	// Where all the rest of stop has taken so long, nothing is left to wait for.
	assert.ok(until !== undefined || ended >= died + 40_000, said);
	if (until !== undefined) {
		const end = Date.parse(until);
		assert.ok(end >= lastMail + 40_000 && end <= died + 41_000, said);
	}
	await b.startZimbra();
	assertExecutedOnce(pair);
});

test("where it is set to look back less, stop waits less", async () => {
	await using pair = await createPair({
		ldap: true,
		settings: quick,
		zimbraSettings: { [setting]: "0" },
	});
	await liveDied(pair);
	assert.doesNotMatch(await liveSyncd(pair.b, "stop"), /Waiting \d+ s/);
	await pair.b.startZimbra();
	assertExecutedOnce(pair);
});

test("where LDAP does not tell, stop says so, takes what Zimbra ships, and goes on", async () => {
	await using pair = await createPair({
		ldap: true,
		settings: quick,
		zimbraSettings: { [setting]: "0" },
	});
	const { b } = pair;
	await liveDied(pair);
	appendFileSync(b.confFile, 'zmprov_command="/bin/false"\n');
	const said = await liveSyncd(b, "stop");
	assert.match(said, /is not known, 10 s as shipped are taken; .*LDAP does not tell/);
	assert.match(said, /done\n/);
});
