import assert from "node:assert/strict";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { formatHeader } from "../../../src/formats/redolog/header.ts";
import { zimbraPaths } from "../../../src/services/paths.ts";
import { findLog } from "../../../src/services/redolog/open-log.ts";

const log = formatHeader({
	open: false,
	fileSize: 512,
	sequence: 7,
	serverId: "id",
	firstOperationTime: 0,
	lastOperationTime: 0,
	version: { major: 1, minor: 42 },
	createTime: 1,
});

/** Root may read everything; what is tried here is what zimbra may. */
async function asNobody<T>(work: () => Promise<T>): Promise<T> {
	if (process.geteuid?.() !== 0) return await work();
	process.seteuid?.(65534);
	try {
		return await work();
	} finally {
		process.seteuid?.(0);
	}
}

test("a folder of the backups that may not be read, lost+found, hides none of the others", async () => {
	const home = mkdtempSync(join(tmpdir(), "open-log-"));
	try {
		chmodSync(home, 0o755);
		const zimbra = zimbraPaths(home);
		mkdirSync(join(zimbra.backup, "lost+found"), { recursive: true, mode: 0o755 });
		chmodSync(join(zimbra.backup, "lost+found"), 0);
		const session = join(zimbra.backup, "sessions/incr-20261123.140000.000/redologs");
		mkdirSync(session, { recursive: true });
		const name = "redo-20261123.140000.000-seq7.log";
		writeFileSync(join(session, name), log, { mode: 0o644 });
		const found = await asNobody(async () => await findLog(zimbra, 7, 1));
		await found?.file.close();
		assert.equal(found?.path, join(session, name));
	} finally {
		chmodSync(join(home, "backup/lost+found"), 0o755);
		rmSync(home, { recursive: true });
	}
});
