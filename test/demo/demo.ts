import { setTimeout as sleep } from "node:timers/promises";
import type { RedoState } from "../../src/formats/state.ts";
import { countExecutions } from "../pair/committed.ts";
import { endsSoon } from "../pair/ends-soon.ts";
import type { Host } from "../pair/host.ts";
import { createPair, type Pair } from "../pair/pair.ts";
import { replayAtOnce } from "../pair/replay-at-once.ts";
import { compareStores } from "../pair/store-dump.ts";
import { Account } from "./account.ts";
import { Traffic } from "./traffic.ts";

/**
 * Two servers on this machine, one dies, the other takes over. Exits 0 only if nothing that the live
 * server had acknowledged is missing on the mirror.
 */
const account = new Account();
const people = ["user1@example.net", "user2@example.net", "user3@example.net"];

async function demo(pair: Pair): Promise<boolean> {
	const { a, b, links } = pair;
	account.chapter("One live server, one mirror");
	account.say(`live   ${a.address}: Zimbra runs, redo log ${await endOf(a)}`);
	account.say(`mirror ${b.address}: an initial copy of it, Zimbra stopped`);
	account.say("mirror> live-syncd start");
	await must(b, "start");
	const traffic = new Traffic(a, people);

	account.chapter("Mail comes in, and the redo log rolls over");
	traffic.start(25);
	for (let second = 0; second < 6; second++) {
		await sleep(1000);
		if (second % 2 === 1) await a.mailbox.rollover();
		await stand(pair);
	}

	account.chapter("A new account, and mail for it at once");
	await a.createAccount("newcomer@example.net");
	await a.mailbox.deliver({ to: ["newcomer@example.net"], size: 2000 });
	account.say("live> zmprov ca newcomer@example.net …, and its first mail is delivered");
	const waited = await until(60_000, () => hasAccount(b, "newcomer@example.net"));
	account.good(`the mirror's LDAP knows the account ${waited} s later`);

	account.chapter("The link is cut for five seconds; mail goes on");
	links.toA.refuse();
	for (let second = 0; second < 5; second++) {
		await sleep(1000);
		if (second === 2) await a.mailbox.rollover();
		await stand(pair);
	}
	links.toA.heal();
	account.say("the link is back");
	await traffic.end();
	const caughtUp = await until(60_000, async () => (await endOf(a)) === (await flushedOn(b)));
	account.good(`caught up after ${caughtUp} s, at ${await endOf(a)}`);
	await stand(pair);

	account.chapter("The live server dies in the middle of a record");
	traffic.start(40);
	await sleep(2500);
	traffic.end().catch(() => undefined);
	await a.crash({ tornAt: 2 });
	account.bad("kill -9 of everything on the live server");

	account.chapter("The mirror takes over");
	account.say("mirror> live-syncd stop");
	for (const line of (await must(b, "stop")).trim().split("\n")) account.say(`        ${line}`);
	const whole = await compare(pair);

	account.say("mirror> zmcontrol start");
	await b.startZimbra();
	await b.mailbox.deliver({ to: ["newcomer@example.net"], size: 500 });
	const there = await hasAccount(b, "newcomer@example.net");
	const twice = executedTwice(pair);
	account.say(
		`the new live server delivers; newcomer@example.net is ${there ? "there" : "MISSING"}`,
	);
	if (twice > 0) account.bad(`${twice} operations were executed again by Zimbra's own start`);
	else account.good("Zimbra's own start executed nothing again");
	return whole && there && twice === 0;
}

/** What was on the live disk, what is on the mirror, what was promised. */
async function compare(pair: Pair): Promise<boolean> {
	const { a, b } = pair;
	const live = a.committed();
	const mirror = new Set(b.committed().map(({ transaction }) => transaction));
	const here = live.filter(({ transaction }) => mirror.has(transaction));
	const promised = a.mailbox.acknowledged;
	const missing = promised.filter(({ transaction }) => !mirror.has(transaction));
	const counts = [...countExecutions(here, b.executions()).values()];
	const executions = counts.reduce((sum, count) => sum + count, 0);
	account.say(`committed operations on the live disk:       ${live.length}`);
	account.say(`of these on the mirror:                      ${here.length}`);
	account.say(`acknowledged to a client before the death:   ${promised.length}`);
	const verdict = `of these missing on the mirror:              ${missing.length}`;
	if (missing.length === 0) account.good(verdict);
	else account.bad(verdict);
	const once = counts.every((count) => count === 1);
	const average = counts.length === 0 ? 0 : executions / counts.length;
	const line = `executions per committed operation:          ${average.toFixed(3)}`;
	if (once) account.good(line);
	else account.bad(line);
	// Not with the dead server's store: its database had not flushed the last second.
	const differences = compareStores(await replayAtOnce(a), await b.dumpStore());
	const compared = `differences from the dead server's log, replayed whole in an empty store: ${differences.length}`;
	const same = differences.length === 0;
	if (same) account.good(compared);
	else account.bad(compared);
	for (const difference of differences.slice(0, 3)) account.say(`  ${difference}`);
	// What was only on the dead disk, and promised to nobody, is no fault of the mirror.
	return missing.length === 0 && once && (same || here.length < live.length);
}

/** Operations that zmplayredo had executed and Zimbra's start-up recovery executed again. */
function executedTwice({ b }: Pair): number {
	const executions = b.executions();
	const replayed = new Set(
		executions.flatMap(({ by, transaction }) => (by === "recovery" ? [] : [transaction])),
	);
	return executions.filter(({ by, transaction }) => by === "recovery" && replayed.has(transaction))
		.length;
}

async function must(host: Host, command: string): Promise<string> {
	const { code, stdout, stderr } = await host.liveSyncd(command);
	if (code === 0) return stdout;
	throw new Error(`live-syncd ${command} exited with ${code}: ${stdout}${stderr}`);
}

async function endOf(host: Host): Promise<string> {
	const { sequence, offset } = await host.mailbox.position();
	return `${sequence}:${offset}`;
}

async function stateOf(host: Host): Promise<RedoState | undefined> {
	const { stdout } = await host.liveSyncd("status", "--json");
	return JSON.parse(stdout).redo.state;
}

async function flushedOn(host: Host): Promise<string> {
	const flushed = (await stateOf(host))?.flushed;
	return flushed === undefined ? "unknown" : `${flushed.sequence}:${flushed.offset}`;
}

async function stand({ a, b }: Pair): Promise<void> {
	const [position, state, live, mirror] = await Promise.all([
		endOf(a),
		stateOf(b),
		countMessages(a),
		countMessages(b),
	]);
	const at = (value: { sequence: number; offset: number } | undefined) =>
		value === undefined ? "unknown" : `${value.sequence}:${value.offset}`;
	const seconds = state?.flushLagSeconds;
	const lag = seconds === undefined ? "lag unknown" : `lag ${seconds.toFixed(1)} s`;
	account.stand(
		{ position, messages: live },
		{
			position: at(state?.flushed),
			messages: mirror,
			replayed: at(state?.replayed),
			lag: `${state?.phase ?? "unknown"}, ${lag}`,
		},
	);
}

async function countMessages(host: Host): Promise<number> {
	const items = [...(await host.dumpStore()).values()];
	return items.filter(({ sha256 }) => sha256 !== undefined).length;
}

async function hasAccount(host: Host, mail: string): Promise<boolean> {
	const { code } = await host.run("zmprov", "-l", "ga", mail, "mail");
	return code === 0;
}

/** Waits for a condition; seconds that it took. */
async function until(timeoutMs: number, condition: () => Promise<boolean>): Promise<string> {
	const begun = performance.now();
	while (!(await condition())) {
		if (performance.now() - begun > timeoutMs) {
			throw new Error(`it did not happen within ${timeoutMs / 1000} s`);
		}
		await sleep(100);
	}
	return ((performance.now() - begun) / 1000).toFixed(1);
}

async function main(): Promise<number> {
	await using pair = await createPair({
		ldap: true,
		proxy: true,
		settings: { replay_interval: "3s", reconnect_max: "2s" },
	});
	try {
		if (await demo(pair)) {
			account.good("nothing that was acknowledged is missing");
			return 0;
		}
		account.bad("something is missing, or was executed twice");
	} catch (error) {
		account.bad(String(error));
	} finally {
		endsSoon();
	}
	return 1;
}

process.exitCode = await main();
