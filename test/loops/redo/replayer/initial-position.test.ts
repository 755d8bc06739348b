import assert from "node:assert/strict";
import {
	cpSync,
	existsSync,
	openSync,
	readFileSync,
	rmSync,
	writeFileSync,
	writeSync,
} from "node:fs";
import { test } from "node:test";
import { Refusal } from "../../../../src/errors.ts";
import { headerSize, parseHeader } from "../../../../src/formats/redolog/header.ts";
import { establishReplayed } from "../../../../src/loops/redo/replayer/position.ts";
import { ProvenanceFile } from "../../../../src/services/redolog/provenance.ts";
import { type ScriptedHost, scriptedHost } from "../../../services/zimbra/host.ts";

const samples = new URL("../../../fixtures/redolog-samples/", import.meta.url).pathname;

/** A host that has this sample as its redo.log; `closed` as a clean stop leaves the header. */
async function hostWith(sample: string, closed = false): Promise<ScriptedHost> {
	const host = await scriptedHost();
	const path = host.config.zimbra.currentLog;
	cpSync(`${samples}${sample}`, path);
	if (closed) writeSync(openSync(path, "r+"), Buffer.from([0]), 0, 1, 7);
	return host;
}

const refused = (host: ScriptedHost, code: string, words: RegExp) =>
	assert.rejects(establishReplayed(host.config, 2), (error: unknown) => {
		assert.ok(error instanceof Refusal, String(error));
		assert.equal(error.code, code);
		assert.match(error.message, words);
		assert.ok(error.hint.length > 20);
		assert.equal(existsSync(host.config.base.replayed), false, "nothing was written");
		return true;
	});

test("the first replay begins at the end of the log that came with the initial copy, never before", async () => {
	await using host = await hostWith("main/redo.log", true);
	const path = host.config.zimbra.currentLog;
	const header = parseHeader(readFileSync(path));
	writeFileSync(path, readFileSync(path).subarray(0, headerSize)); // as a clean stop leaves it
	const position = await establishReplayed(host.config, 2);
	assert.equal(position.offset, headerSize);
	assert.deepEqual(position.log, {
		serverId: header?.serverId,
		sequence: header?.sequence,
		createTime: header?.createTime,
		timeline: 2,
	});
	assert.deepEqual(await establishReplayed(host.config, 3), position, "and stays where it is");
});

test("a redo log of a version above the known ones, as Zimbra X writes it, is refused before anything is followed", async () => {
	await using host = await hostWith("main/redo.log", true);
	const path = host.config.zimbra.currentLog;
	const bytes = readFileSync(path).subarray(0, headerSize);
	bytes.writeInt16BE(43, 170);
	writeFileSync(path, bytes);
	await refused(host, "log-version", /redo\.log is written in version 1\.43.*up to 1\.42/);
});

test("without a redo log there was no initial copy", async () => {
	await using host = await scriptedHost();
	await refused(host, "no-initial-copy", /redo\.log is missing/);
});

test("a copy of a server that was running is refused: its log is open", async () => {
	await using host = await hostWith("main/redo.log");
	await refused(host, "unclean-copy", /its header says that it is open/);
});

test("a log that ends inside a record is refused, whatever its header says", async () => {
	await using host = await hostWith("torn/redo.log", true);
	await refused(host, "unclean-copy", /its header says \d+ bytes, it has \d+/);
});

test("a copy made in the middle of a rollover is refused", async () => {
	await using host = await hostWith("main/redo.log", true);
	writeFileSync(host.path("redolog/~tmp-redo-20261123.145258.105-seq1.log"), "");
	await refused(host, "unclean-copy", /a rollover was under way/);
});

test("row 'position file lost': refused where logs have been received", async () => {
	await using host = await hostWith("main/redo.log", true);
	await using provenance = await ProvenanceFile.open(host.config.zimbra.mirrorMarker);
	await provenance.update(() => ({
		identity: { serverId: "x", sequence: 4, createTime: 1, timeline: 0 },
		from: 512,
		upTo: 600,
		digest: "",
		headers: [],
		receiving: false,
	}));
	await refused(host, "position-lost", /replayed\.json, is missing/);
});

test("a position file that cannot be read is not taken for none", async () => {
	await using host = await hostWith("main/redo.log", true);
	writeFileSync(host.config.base.replayed, '{"version":1');
	await assert.rejects(establishReplayed(host.config, 2), { code: "position-lost" });
	rmSync(host.config.base.replayed);
});
