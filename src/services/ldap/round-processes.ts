import type { Config } from "../config.ts";
import { type ProcessIdentity, sendSignal, waitForEnd } from "../processes.ts";
import type { Run } from "../run.ts";
import { allProcesses, isOwn } from "../zimbra/process-table.ts";
import { possibleCheckDirectories } from "./places.ts";

/**
 * What a round of LDAP runs, a pull and the tools that check a copy, leads process groups of its own
 * and outlives a loop that is killed. All of it carries the installation's name in its environment, so
 * that it is found without a record. Nothing that starts a service may run so: slapd would carry it too.
 */
export const forRound =
	(config: Config, run: Run): Run =>
	(command, options) =>
		run(command, { ...options, env: { ...options.env, [name]: config.base.base } });

const name = "LIVE_SYNC_LDAP_ROUND";
const endMs = 5000;

/**
 * Kills what is left of a round, and gives what there was. Call it only while no LDAP loop works.
 * Throws where a process does not end: one that waits for a disk that does not answer.
 */
export async function endRound(config: Config): Promise<ProcessIdentity[]> {
	const ended = new Map<number, ProcessIdentity>();
	const deadline = performance.now() + endMs;
	for (;;) {
		const left = await roundProcesses(config);
		if (left.length === 0) return [...ended.values()];
		for (const each of left) {
			ended.set(each.pid, each);
			sendSignal(each, "SIGKILL");
		}
		for (const each of left) {
			if (await waitForEnd(each, deadline - performance.now())) continue;
			throw new Error(`process ${each.pid}, of an LDAP round that was killed, does not end`);
		}
	}
}

async function roundProcesses(config: Config): Promise<ProcessIdentity[]> {
	const variable = `${name}=${config.base.base}`;
	// slapcat is slapd by another name, and Zimbra gives that file a capability: then the kernel hides
	// its environment from its own user, but not its words. Source: proc(5), ptrace access mode.
	const directories = await possibleCheckDirectories(config);
	const found: ProcessIdentity[] = [];
	for (const { pid, words, environment, identity } of allProcesses()) {
		const checks = words.some((word) => directories.includes(word)) && isOwn(pid);
		if (!checks && !environment().includes(variable)) continue;
		const process = identity();
		if (process !== undefined) found.push(process);
	}
	return found;
}
