import assert from "node:assert/strict";
import { mkdir, mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { ReceivedLog } from "../../../../src/loops/redo/receiver/received-log.ts";
import { zimbraPaths } from "../../../../src/services/paths.ts";
import { KeptLinks } from "../../../../src/services/redolog/kept-links.ts";
import { ProvenanceFile } from "../../../../src/services/redolog/provenance.ts";

test("a look at the header beside a rewrite of our own is no sign of a stranger", async () => {
	const home = await mkdtemp(join(tmpdir(), "received-log-"));
	const prototype = Object.getPrototypeOf(await open("/dev/null").then(closed));
	const { read } = prototype;
	try {
		const zimbra = zimbraPaths(home);
		await mkdir(zimbra.archive, { recursive: true });
		await using provenance = await ProvenanceFile.open(zimbra.mirrorMarker);
		const identity = { serverId: "live", sequence: 1, createTime: 1, timeline: 1 };
		const kept = new KeptLinks(join(home, "links"), "1");
		const place = { zimbra, provenance };
		await using log = await ReceivedLog.create(place, identity, Buffer.alloc(512, 1), kept);

		// The system has read the old header, and is slow to say so.
		let answer: (() => void) | undefined;
		prototype.read = async function (...words: unknown[]) {
			const result = await read.apply(this, words);
			prototype.read = read;
			await new Promise<void>((resolve) => {
				answer = resolve;
			});
			return result;
		};
		const look = log.checkUntouched();
		while (answer === undefined) await new Promise((resolve) => setImmediate(resolve));
		await log.writeHeader(Buffer.alloc(512, 2));
		answer();
		await look;

		await using stranger = await open(zimbra.currentLog, "r+");
		await stranger.write(Buffer.alloc(512, 3), 0, 512, 0);
		await assert.rejects(log.checkUntouched(), { code: "log-altered" });
	} finally {
		prototype.read = read;
		await rm(home, { recursive: true });
	}
});

async function closed<T extends { close(): Promise<void> }>(file: T): Promise<T> {
	await file.close();
	return file;
}
