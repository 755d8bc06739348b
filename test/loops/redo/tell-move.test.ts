import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { tellMove } from "../../../src/loops/redo/tell-move.ts";
import { scriptedHost } from "../../services/zimbra/host.ts";

test("a mirror tells its new address until the live server has dropped the old one, and then no more", async () => {
	await using host = await scriptedHost();
	const { config, log } = host;
	const asked: string[] = [];
	let answer = { exitCode: 0, stdout: "later\n", stderr: "" };
	const tell = (localAddress: string) =>
		tellMove(
			{ ...config, localAddress },
			async (request) => {
				asked.push(request);
				return answer;
			},
			log,
		);
	await tell("192.0.2.2");
	await tell("::ffff:192.0.2.2");
	assert.deepEqual(asked, [], "the first address is no change, nor is another spelling");
	await tell("192.0.2.9");
	answer = { exitCode: 1, stdout: "", stderr: "sync-commands: refused: unknown request moved" };
	await tell("192.0.2.9");
	answer = { exitCode: 0, stdout: "moved\n", stderr: "" };
	await tell("192.0.2.9");
	await tell("192.0.2.9");
	assert.deepEqual(asked, Array(3).fill("moved 192.0.2.2 192.0.2.9"));
	assert.equal(await readFile(config.base.knownAs, "utf8"), "192.0.2.9\n");
});
