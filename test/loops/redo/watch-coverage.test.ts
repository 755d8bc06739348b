import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { LogPosition } from "../../../src/formats/protocol/messages.ts";
import type { LdapState } from "../../../src/formats/state.ts";
import { RedoStatus } from "../../../src/loops/redo/redo-status.ts";
import { watchCoverage } from "../../../src/loops/redo/watch-coverage.ts";
import { publish } from "../../../src/services/publish.ts";
import { until } from "../../pair/until.ts";
import { scriptedHost } from "../../services/zimbra/host.ts";

const quick = { lookMs: 20, patienceMs: 1000 };

type Watch = AsyncDisposable & {
	readonly status: RedoStatus;
	flushed(offset: number): void;
	/** What the LDAP loop publishes; undefined where it does not know. */
	covers(offset: number | undefined): Promise<void>;
	warning(): string | undefined;
};

async function watch(patienceMs = quick.patienceMs): Promise<Watch> {
	const host = await scriptedHost();
	const { config, log } = host;
	await mkdir(host.path("live_sync/status"), { recursive: true });
	const status = new RedoStatus("192.0.2.1", 5000, log);
	const ended = new AbortController();
	const running = watchCoverage(config, status, ended.signal, { ...quick, patienceMs });
	return {
		status,
		flushed: (offset) =>
			status.setFlushed({ ...position(offset), createTime: 1, timeline: 1 } as LogPosition),
		async covers(offset) {
			const coverage = offset === undefined ? undefined : position(offset);
			await publish(config.base.stateLdap, { version: 1, coverage } as unknown as LdapState);
		},
		warning: () => status.snapshot().problems.find(({ code }) => code === "trouble")?.message,
		async [Symbol.asyncDispose]() {
			ended.abort();
			await running;
			await host[Symbol.asyncDispose]();
		},
	};
}

const position = (offset: number) => ({ sequence: 3, offset });

test("replay that waits long for LDAP is said, with where it stands, and that it is mended", async () => {
	await using it = await watch();
	await it.covers(1000);
	it.flushed(2000);
	const began = performance.now();
	await until("the warning", () => it.warning() !== undefined);
	const afterMs = performance.now() - began;
	assert.ok(afterMs > quick.patienceMs / 2, `too soon: ${afterMs} ms`);
	assert.match(it.warning() ?? "", /replay waits for LDAP: .* up to 3:1000/);
	await it.covers(2000);
	await until("it is mended", () => it.warning() === undefined);
});

test("the warning ends as soon as the LDAP copy covers more, though it has not caught up with a busy log", async () => {
	await using it = await watch();
	await it.covers(1000);
	it.flushed(2000);
	await until("the warning", () => it.warning() !== undefined);
	it.flushed(4000);
	await it.covers(3000);
	await until("it is mended", () => it.warning() === undefined);
});

test("an LDAP copy that nobody knows is said too", async () => {
	await using it = await watch();
	it.flushed(2000);
	await until("the warning", () => /up to nothing/.test(it.warning() ?? ""));
});

test("an LDAP copy that comes along behind a busy log is nothing to be said", async () => {
	const patienceMs = 5 * quick.patienceMs;
	await using it = await watch(patienceMs);
	const end = performance.now() + 1.5 * patienceMs;
	for (let at = 1000; performance.now() < end; at += 10) {
		await it.covers(at);
		it.flushed(at + 5);
		await sleep(100);
		assert.equal(it.warning(), undefined);
	}
});
