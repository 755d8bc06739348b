import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** Redo logs written by Zimbra's own classes, each with what Zimbra's own reader says of it. */
export const samplesDirectory = join(import.meta.dirname, "../../fixtures/redolog-samples");

export type SampleRecord = {
	offset: number;
	length: number;
	/** what the reader consumed, where that is not the whole record */
	parsedLength?: number;
	opcode: number;
	op: string;
	version: string;
	timestamp: number;
	changeId: number;
	txn: string;
	mailboxId: number;
	txnOpcode?: number;
	activeTxns?: string[];
	dataOffset?: number;
	dataLength?: number;
	dataSha256?: string;
};

export type Sample = {
	name: string;
	bytes: Buffer;
	size: number;
	header: {
		open: number;
		fileSize: number;
		sequence: number;
		serverId: string;
		firstOpTimestamp: number;
		lastOpTimestamp: number;
		version: string;
		createTime: number;
	};
	lastGoodOffset: number;
	trailingBytes: number;
	ops: SampleRecord[];
};

export const samples: Sample[] = globSync("**/*.log.json", { cwd: samplesDirectory })
	.sort()
	.map((name) => name.slice(0, -".json".length))
	.map((name) => ({
		...JSON.parse(readFileSync(join(samplesDirectory, `${name}.json`), "utf8")),
		name,
		bytes: readFileSync(join(samplesDirectory, name)),
	}));

export function sample(name: string): Sample {
	const found = samples.find((one) => one.name === name);
	if (found === undefined) throw new Error(`no sample ${name}`);
	return found;
}
