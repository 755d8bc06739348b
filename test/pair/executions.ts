import { existsSync, readFileSync } from "node:fs";

/** One operation carried out, or tried, on the store of a host. */
export type Execution = {
	readonly time: number;
	/** `mailboxd`, `recovery` or `zmplayredo:<pid>` */
	readonly by: string;
	readonly transaction: string;
	readonly opcode: number;
	readonly mailboxId: number;
	/** `ok`, `done: …` where it had been done, `failed: …` */
	readonly result: string;
};

export function readExecutions(path: string): Execution[] {
	if (!existsSync(path)) return [];
	const lines = readFileSync(path, "utf8").split("\n").slice(0, -1);
	return lines.map((line) => {
		const [time, by = "", transaction = "", opcode, mailboxId, result = ""] = line.split("\t");
		return {
			time: Number(time),
			by,
			transaction,
			opcode: Number(opcode),
			mailboxId: Number(mailboxId),
			result,
		};
	});
}
