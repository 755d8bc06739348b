import assert from "node:assert/strict";
import { bytesSource } from "../../../src/formats/redolog/cursor.ts";
import { formatHeader } from "../../../src/formats/redolog/header.ts";
import {
	committedOperations,
	planReplay,
	type ReplayPlan,
	type ReplayRemark,
} from "../../../src/formats/replay/plan.ts";
import {
	formatReplayedPosition,
	parseReplayedPosition,
	startAt,
} from "../../../src/formats/replay/replayed-position.ts";
import type { ReplayLog } from "../../../src/formats/replay/scan.ts";
import type { LiveServer } from "./live-server.ts";
import { materialise, play } from "./player.ts";

export const identity = (sequence: number) => ({
	serverId: "server",
	sequence,
	createTime: 1000 + sequence,
	timeline: 0,
});

export function logsOf(server: LiveServer): ReplayLog[] {
	return server.logs.map((bytes, sequence) => {
		const closed = sequence < server.sequence;
		return {
			identity: identity(sequence),
			name: closed ? `redo-seq${sequence}.log` : "redo.log",
			header: server.header(sequence),
			source: bytesSource(bytes),
			length: bytes.length,
			closed,
			verified: closed,
		};
	});
}

/** A mirror that has received all and replays up to where it is told. */
export class Mirror {
	position = startAt(identity(0));
	readonly executed: string[] = [];
	readonly linked = new Map<string, string>();
	readonly lost: string[] = [];
	readonly remarks: ReplayRemark[] = [];
	#removedBelow = 0;
	readonly #purges: boolean;
	readonly #gaps: boolean;

	/** @param gaps of what cannot be walked the plan does not tell what the run executes */
	constructor(purges: boolean, gaps = false) {
		this.#purges = purges;
		this.#gaps = gaps;
	}

	async replay(server: LiveServer, to: { sequence: number; offset: number }): Promise<ReplayPlan> {
		const logs = logsOf(server).filter((log) => log.identity.sequence >= this.#removedBelow);
		const range = { logs, from: this.position, to };
		const plan = await planReplay(range);
		const told = [...committedOperations(range)].filter(
			({ opcode, fate }) => opcode !== 26 && fate === "executed",
		);
		const files = plan.files.map((file) =>
			file.kind === "archive"
				? server.file(file.log.identity.sequence)
				: materialise(formatHeader(file.header), file.pieces, ({ sequence }) => {
						assert.ok(sequence >= this.#removedBelow, "a piece of a log that was removed");
						return server.logs[sequence] ?? Buffer.alloc(0);
					}),
		);
		const run = play(files, { extensions: this.#gaps });
		if (!this.#gaps)
			assert.deepEqual(
				told.map(({ id }) => id),
				run.executed,
				"the plan tells what the run executes",
			);
		this.executed.push(...run.executed);
		this.lost.push(...run.lost);
		this.remarks.push(...plan.remarks);
		for (const [id, body] of run.linked) this.linked.set(id, body);
		assert.deepEqual(parseReplayedPosition(formatReplayedPosition(plan.position)), plan.position);
		this.position = plan.position;
		// The position itself names the oldest log that is needed; the rest is purged.
		if (this.#purges) this.#removedBelow = Math.max(this.#removedBelow, plan.oldestNeeded.sequence);
		return plan;
	}
}
