import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { Execution } from "./executions.ts";
import { op } from "./redo/layouts.ts";
import { recordsOf } from "./redo/log-reader.ts";
import { transactionName } from "./redo/record.ts";

/** An operation that has both its change and its commit record in a host's redo logs. */
export type CommittedOperation = {
	readonly transaction: string;
	readonly opcode: number;
	readonly mailboxId: number;
	/** where its first commit record stands */
	readonly file: string;
	readonly offset: number;
};

/** The logs of a redolog directory in the order in which Zimbra reads them. */
export function logsIn(redologDirectory: string): string[] {
	const archive = join(redologDirectory, "archive");
	const sequence = (name: string) => Number(/-seq(\d+)\.log$/.exec(name)?.[1]);
	const names = existsSync(archive) ? readdirSync(archive) : [];
	const archived = names
		.filter((name) => /^redo-.*-seq\d+\.log$/.test(name))
		.sort((a, b) => sequence(a) - sequence(b))
		.map((name) => join(archive, name));
	const current = join(redologDirectory, "redo.log");
	return existsSync(current) ? [...archived, current] : archived;
}

/** Every committed operation in a redolog directory, once, by its first commit. */
export function committedIn(redologDirectory: string): CommittedOperation[] {
	const changes = new Map<string, { opcode: number; mailboxId: number }>();
	const committed = new Map<string, CommittedOperation>();
	for (const file of logsIn(redologDirectory))
		for (const { record, offset } of recordsOf(file)) {
			const transaction = transactionName(record.transaction);
			const { opcode, mailboxId } = record;
			if (opcode === op.commit) {
				const change = changes.get(transaction);
				if (change !== undefined && !committed.has(transaction))
					committed.set(transaction, { transaction, ...change, file, offset });
			} else if (opcode !== op.abort && opcode !== op.checkpoint)
				changes.set(transaction, { opcode, mailboxId });
		}
	return [...committed.values()];
}

/**
 * How often each of these operations was carried out: 1 for each is what a mirror must show. Blob
 * records are left out: they change nothing by themselves, and a slice may rightly carry one again.
 */
export function countExecutions(
	operations: readonly { readonly transaction: string; readonly opcode: number }[],
	executions: readonly Execution[],
): Map<string, number> {
	const counted = operations.filter(({ opcode }) => opcode !== op.storeIncomingBlob);
	const counts = new Map(counted.map(({ transaction }) => [transaction, 0]));
	for (const { transaction } of executions) {
		const before = counts.get(transaction);
		if (before !== undefined) counts.set(transaction, before + 1);
	}
	return counts;
}
