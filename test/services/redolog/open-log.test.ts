import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { formatHeader } from "../../../src/formats/redolog/header.ts";
import { startAt } from "../../../src/formats/replay/replayed-position.ts";
import { zimbraPaths } from "../../../src/services/paths.ts";
import { openReplayLogs } from "../../../src/services/redolog/log-files.ts";
import { endOfLog, findLog, openLog } from "../../../src/services/redolog/open-log.ts";

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

const odd = {
	"a FIFO": (path: string) => execFileSync("mkfifo", [path]),
	"a link": (path: string) => {
		writeFileSync(`${path}.target`, log);
		symlinkSync(`${path}.target`, path);
	},
	"a directory": (path: string) => mkdirSync(path),
	"a link to a device": (path: string) => symlinkSync("/dev/zero", path),
};

for (const [what, make] of Object.entries(odd)) {
	test(`${what} in the place of a redo log is refused by its name, and nobody hangs on it`, async () => {
		const home = mkdtempSync(join(tmpdir(), "open-log-"));
		try {
			const zimbra = zimbraPaths(home);
			const session = join(zimbra.backup, "sessions/incr-20261123.140000.000/redologs");
			for (const each of [zimbra.archive, session]) mkdirSync(each, { recursive: true });
			const isRefused = { code: "not-a-file", message: /redo.*is not a plain file/ };
			const name = "redo-20261123.140000.000-seq7.log";
			make(zimbra.currentLog);
			await assert.rejects(openLog(zimbra.currentLog), isRefused);
			await assert.rejects(endOfLog(zimbra), isRefused);
			await assert.rejects(findLog(zimbra, 7, 1), isRefused);
			const identity = { serverId: "id", sequence: 7, createTime: 1, timeline: 1 };
			const position = startAt(identity, 512);
			await assert.rejects(openReplayLogs({ zimbra }, position), isRefused);
			rmSync(zimbra.currentLog, { recursive: true });
			make(join(zimbra.archive, name));
			await assert.rejects(findLog(zimbra, 7, 1), isRefused);
			await assert.rejects(openReplayLogs({ zimbra }, position), isRefused);
			// What has been replayed is not needed.
			const later = startAt({ ...identity, sequence: 8 }, 512);
			await using opened = await openReplayLogs({ zimbra }, later);
			assert.deepEqual(opened.logs, []);
			// Beside the log that is wanted it is in nobody's way.
			writeFileSync(join(zimbra.archive, name.replace(".000-", ".001-")), log);
			const found = await findLog(zimbra, 7, 1);
			await found?.file.close();
			assert.ok(found?.path.startsWith(zimbra.archive));
			rmSync(zimbra.archive, { recursive: true });
			make(join(session, name));
			assert.equal(await findLog(zimbra, 7, 1), undefined);
			writeFileSync(join(session, name.replace(".000-", ".001-")), log);
			const kept = await findLog(zimbra, 7, 1);
			await kept?.file.close();
			assert.ok(kept?.path.startsWith(session));
		} finally {
			rmSync(home, { recursive: true });
		}
	});
}
