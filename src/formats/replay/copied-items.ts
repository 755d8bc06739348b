import { Buffer } from "node:buffer";

/**
 * The ids that a copy gives to its new items. A copy is the one operation on single items that does
 * harm when it is executed again: the blob is linked once more, the insert fails, and the rollback
 * deletes the file of the good copy.
 * Source: zm-mailbox, com.zimbra.cs.redolog.op.CopyItem, RecoverItem, ImapCopyItem.
 */
const copyItem = 22;
const imapCopyItem = 56;
const recoverItem = 79;

export const isCopy = (opcode: number): boolean =>
	opcode === copyItem || opcode === imapCopyItem || opcode === recoverItem;

/**
 * Reads them from a change record, the common part included; undefined where the record is no copy or
 * cannot be read.
 */
export function copiedItems(record: Uint8Array): number[] | undefined {
	const bytes = Buffer.from(record.buffer, record.byteOffset, record.byteLength);
	try {
		const minor = bytes.readInt16BE(8);
		const opcode = bytes.readInt32BE(10);
		if (!isCopy(opcode)) return undefined;
		let at = minor >= 26 ? 46 : 42;
		const int = () => {
			at += 4;
			return bytes.readInt32BE(at - 4);
		};
		if (opcode !== imapCopyItem) {
			// Old records have one pair here, new ones -1 and a list.
			const from = int();
			const to = int();
			if (from > 0 && to > 0) return [to];
		}
		at += 1; // type of item
		int(); // folder
		at += 2; // volume
		const targets: number[] = [];
		for (let count = int(); count > 0; count--) {
			int();
			targets.push(int());
			if (opcode === imapCopyItem) int();
			if (minor >= 37) {
				const length = int();
				at += Math.max(0, length);
			}
		}
		return targets;
	} catch (error) {
		if (error instanceof RangeError) return undefined;
		throw error;
	}
}
