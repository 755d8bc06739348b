import { Buffer } from "node:buffer";
import {
	BadBytes,
	FieldReader,
	FieldWriter,
	ReaderDies,
	type TakeBytes,
	type Values,
} from "./fields.ts";
import { layouts, opcodesWithoutClass } from "./layouts.ts";

export type TransactionId = { readonly time: number; readonly counter: number };

/** One record of a redo log: its common part (RedoableOp.serializeHeader) and the fields of its operation. */
export type RedoRecord = {
	readonly opcode: number;
	/** 1.minor */
	readonly minor: number;
	/** ms since the epoch */
	readonly time: number;
	readonly changeId: number;
	readonly changeConstraint: number;
	readonly transaction: TransactionId;
	readonly mailboxId: number;
	readonly fields: Values;
};

export const latestMinor = 42;
export const recordMagic = Buffer.from("ZMREDO", "latin1");
/** Mailbox of an operation that all mailboxes need. */
export const allMailboxes = -1;

export const transactionName = ({ time, counter }: TransactionId): string => `${time}.${counter}`;

/** The bytes of a record, in the two parts in which Zimbra hands them to its writer. */
export function encodeRecord(record: RedoRecord): Buffer[] {
	const at = (minor: number): boolean => record.minor >= minor;
	const common = new FieldWriter({
		...record,
		mailbox: record.mailboxId,
		major: 1,
		transactionTime: record.transaction.time,
		transactionCounter: record.transaction.counter,
	} as unknown as Values);
	for (const name of ["major", "minor"]) common.short(name);
	common.int("opcode");
	common.long("time");
	for (const name of ["changeId", "changeConstraint", "transactionTime", "transactionCounter"])
		common.int(name);
	if (at(26)) common.long("mailbox");
	else common.int("mailbox");
	const own = new FieldWriter(record.fields);
	const layout = layouts[record.opcode];
	if (layout === undefined) throw new RangeError(`no layout for opcode ${record.opcode}`);
	layout(own, at);
	const start = Buffer.concat([recordMagic, common.bytes(), own.bytes()]);
	return own.end === undefined ? [start] : [start, own.end];
}

/** Reads one record with the refusals of Zimbra's reader (RedoableOp.deserializeOp). */
export function decodeRecord(take: TakeBytes): RedoRecord {
	if (!take(recordMagic.length).equals(recordMagic)) throw new BadBytes("no ZMREDO here");
	const common = new FieldReader(take);
	const major = common.short("major");
	const minor = common.short("minor");
	if (major > 1 || (major === 1 && minor > latestMinor))
		throw new BadBytes(`version ${major}.${minor} is higher than 1.${latestMinor}`);
	const at = (least: number): boolean => major > 1 || (major === 1 && minor >= least);
	const opcode = common.int("opcode");
	if (opcodesWithoutClass.has(opcode)) throw new BadBytes(`no class for operation ${opcode}`);
	const layout = layouts[opcode];
	if (layout === undefined) throw new ReaderDies(`NullPointerException: operation ${opcode}`);
	const time = common.long("time");
	const changeId = common.int("changeId");
	const changeConstraint = common.int("changeConstraint");
	const transaction = { time: common.int("time"), counter: common.int("counter") };
	const mailboxId = at(26) ? common.long("mailbox") : common.int("mailbox");
	const own = new FieldReader(take);
	layout(own, at);
	return {
		opcode,
		minor,
		time,
		changeId,
		changeConstraint,
		transaction,
		mailboxId,
		fields: own.values,
	};
}
