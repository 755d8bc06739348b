import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { comparePositions } from "../../../src/formats/redolog/position.ts";
import { rewind } from "../../../src/formats/replay/rewind.ts";
import type { ReplayLog } from "../../../src/formats/replay/scan.ts";
import { blobMemory } from "../../../src/formats/replay/state.ts";
import * as build from "../redolog/build.ts";
import { LiveServer } from "./live-server.ts";
import { logsOf, Mirror } from "./mirror.ts";

const { LIVE_SYNC_FUZZ = "300" } = process.env;

test(`each committed operation is executed once and in order, however it is sliced (${LIVE_SYNC_FUZZ} histories)`, async () => {
	await fc.assert(
		fc.asyncProperty(fc.integer(), async (seed) => {
			const draw = build.drawFrom(seed);
			// Archives are removed as soon as the position says so, or links come at any time later.
			const purges = draw(2) === 0;
			const server = new LiveServer(draw, purges ? blobMemory : Number.POSITIVE_INFINITY);
			const mirror = new Mirror(purges);
			const steps = 20 + draw(150);
			const eagerness = 1 + draw(40);
			for (let i = 0; i < steps; i++) {
				server.step();
				if (draw(eagerness) !== 0) continue;
				// Any byte of any log that is not behind what was replayed.
				const sequence =
					mirror.position.log.sequence + draw(server.sequence - mirror.position.log.sequence + 1);
				const offset = 512 + draw((server.logs[sequence]?.length ?? 512) - 511);
				const to = { sequence, offset };
				await mirror.replay(server, to);
				const reached = {
					sequence: mirror.position.log.sequence,
					offset: mirror.position.offset,
				};
				const due = server.committed.filter(
					(one) =>
						comparePositions({ sequence: one.sequence, offset: one.offset + 50 }, reached) <= 0,
				);
				assert.deepEqual(
					mirror.executed,
					due.map(({ id }) => id),
				);
			}
			await mirror.replay(server, {
				sequence: server.sequence,
				offset: Number.MAX_SAFE_INTEGER,
			});
			assert.deepEqual(
				mirror.executed,
				server.committed.map(({ id }) => id),
			);
			assert.deepEqual(mirror.lost, []);
			for (const [id, body] of server.links) assert.equal(mirror.linked.get(id), body);
		}),
		{ numRuns: Number(LIVE_SYNC_FUZZ) },
	);
});

test(`operations whose layout only Zimbra knows are executed once, however the log is sliced (${LIVE_SYNC_FUZZ} histories)`, async () => {
	await fc.assert(
		fc.asyncProperty(fc.integer(), async (seed) => {
			const draw = build.drawFrom(seed);
			const server = new LiveServer(draw, blobMemory, true);
			const mirror = new Mirror(draw(2) === 0, true);
			const steps = 20 + draw(150);
			const eagerness = 1 + draw(40);
			for (let i = 0; i < steps; i++) {
				server.step();
				if (draw(eagerness) !== 0) continue;
				const sequence =
					mirror.position.log.sequence + draw(server.sequence - mirror.position.log.sequence + 1);
				const offset = 512 + draw((server.logs[sequence]?.length ?? 512) - 511);
				await mirror.replay(server, { sequence, offset });
			}
			server.rollover();
			await mirror.replay(server, { sequence: server.sequence, offset: Number.MAX_SAFE_INTEGER });
			assert.equal(new Set(mirror.executed).size, mirror.executed.length, "nothing twice");
			const due = new Set(server.committed.map(({ id }) => id));
			assert.deepEqual([...due.difference(new Set(mirror.executed))], [], "nothing skipped");
			assert.deepEqual([...new Set(mirror.executed).difference(due)], [], "nothing else");
		}),
		{ numRuns: Number(LIVE_SYNC_FUZZ) },
	);
});

test(`what was executed from bytes that the live server lost is not executed again (${LIVE_SYNC_FUZZ} histories)`, async () => {
	await fc.assert(
		fc.asyncProperty(fc.integer(), async (seed) => {
			const draw = build.drawFrom(seed);
			const server = new LiveServer(draw, Number.POSITIVE_INFINITY);
			const mirror = new Mirror(false);
			for (let i = draw(60); i > 0; i--) server.step();
			for (let i = 1 + draw(3); i > 0; i--) {
				const { sequence } = server;
				const restore = server.snapshot();
				const cut = server.logs[sequence]?.length ?? 512;
				for (let j = draw(8); j > 0 && server.sequence === sequence; j--) server.step();
				if (server.sequence !== sequence) continue;
				await mirror.replay(server, { sequence, offset: 512 + draw(1e6) });

				const { lost, position } = rewind(
					mirror.position,
					logsOf(server)[sequence] as ReplayLog,
					// A cut inside a record leaves the boundary before it.
					cut + (mirror.position.offset > cut ? draw(20) : 0),
				);
				const before = new Set(mirror.executed);
				const all = server.committed.map(({ id }) => id);
				restore();
				const kept = new Set(server.changes());
				assert.deepEqual(
					lost.map(({ id }) => id),
					all.filter((id) => before.has(id) && !kept.has(id)),
				);
				// That is divergence: the mirror has history of its own, and nothing is replayed.
				if (lost.length > 0) return;
				mirror.position = position;
				server.crash();
				for (let j = draw(20); j > 0; j--) server.step();
			}
			const plan = await mirror.replay(server, { sequence: server.sequence, offset: 1e9 });
			assert.equal(new Set(mirror.executed).size, mirror.executed.length, "nothing twice");
			const due = new Set(server.committed.map(({ id }) => id));
			const extra = mirror.executed.filter((id) => !due.has(id));
			for (const id of mirror.executed) due.delete(id);
			assert.deepEqual([...due], [], "nothing skipped");
			// Executed here and aborted by the live server's recovery: all that may differ, and it is said.
			for (const id of extra)
				assert.ok(mirror.remarks.some((one) => one.kind === "contradicted" && one.id === id));
			assert.deepEqual(plan.position.executed, []);
		}),
		{ numRuns: Number(LIVE_SYNC_FUZZ) },
	);
});
