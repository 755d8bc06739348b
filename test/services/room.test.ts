import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { hintOf } from "../../src/errors.ts";
import { parseSettings } from "../../src/formats/settings/parse.ts";
import type { Config } from "../../src/services/config.ts";
import { freeBytes } from "../../src/services/files.ts";
import { basePaths, zimbraPaths } from "../../src/services/paths.ts";
import { ReceivingFloor } from "../../src/services/room.ts";

test("below a tenth of disk_floor nothing more is received, which is said as of a full disk", async () => {
	const home = mkdtempSync(join(tmpdir(), "room-"));
	try {
		const base = basePaths(join(home, "live_sync"));
		const zimbra = zimbraPaths(home);
		mkdirSync(zimbra.redolog);
		const free = await freeBytes(zimbra.redolog);
		const floorOf = (bytes: number) => {
			const { settings } = parseSettings(
				`server1="127.0.0.1"\nserver2="127.0.0.2"\ndisk_floor="${Math.round(bytes / 2 ** 20)}M"\n`,
				{ base_dir: base.base },
			);
			assert.ok(settings !== undefined);
			const addresses = { localAddress: "127.0.0.2", remoteAddress: "127.0.0.1" };
			const config: Config = { settings, base, zimbra, ...addresses };
			return new ReceivingFloor(config);
		};
		await floorOf(0).demand(1e15);
		const roomy = floorOf(5 * free);
		await roomy.demand(1000);
		await roomy.demand(free / 100);
		await assert.rejects(roomy.demand(free), (error) => {
			assert.match(String(error), /ENOSPC.*tenth of disk_floor.*write '.*redolog\/redo\.log'/);
			assert.match(hintOf(error) ?? "", /make room/);
			return true;
		});
		await assert.rejects(floorOf(20 * free).demand(0), /ENOSPC/);
	} finally {
		rmSync(home, { recursive: true });
	}
});
