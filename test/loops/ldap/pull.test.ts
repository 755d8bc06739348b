import assert from "node:assert/strict";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { hintOf } from "../../../src/errors.ts";
import { type PullOptions, pull } from "../../../src/loops/ldap/pull.ts";
import { listTree } from "../../../src/services/ldap/directory.ts";
import type { Run } from "../../../src/services/run.ts";
import { type ScriptedHost, scriptedHost } from "../../services/zimbra/host.ts";

const { signal } = new AbortController();

/** Options for a pull of `live` into `staging`, with an rsync that needs no ssh. */
function optionsOf(host: ScriptedHost, run: Run = localRsync(host.run)): PullOptions {
	return {
		config: { ...host.config, localAddress: "192.0.2.2", remoteAddress: "192.0.2.1" },
		run,
		signal,
		from: host.path("live"),
		to: host.path("staging"),
		parts: [
			{ path: "config", what: "ldif" },
			{ path: "state/run", what: "empty" },
			{ path: "mdb/db", what: "environment" },
		],
		method: { kind: "files" },
	};
}

const localRsync =
	(run: Run): Run =>
	(command, options) => {
		const shell = command.indexOf("-e");
		const words = command.toSpliced(shell, 2);
		return run(
			words.map((word) => word.replace(/^[^:]+@192\.0\.2\.1:/, "")),
			options,
		);
	};

test("only LDIF files of the configuration and data of databases arrive, and all else in staging goes", async () => {
	await using host = await scriptedHost();
	const write = (path: string) => {
		mkdirSync(dirname(host.path(path)), { recursive: true });
		writeFileSync(host.path(path), path);
	};
	const wanted = ["config/cn=config.ldif", "config/cn=config/cn=x/cn=y.ldif", "mdb/db/data.mdb"];
	for (const each of [
		...wanted,
		...["config/evil.so", "config/cn=config.ldif.old", "config/cn=config/evil.la"],
		...["config/.live_sync.json", ".live_sync.json", "mdb/evil.so", "mdb/db/lock.mdb"],
		...["state/run/slapd.pid", "state/run/evil.so", "evil.ldif"],
	]) {
		write(join("live", each));
	}
	write("staging/config/cn=config/evil.so");
	write("staging/evil/evil.so");
	await pull(optionsOf(host));
	assert.deepEqual(await listTree(host.path("staging")), {
		directories: ["config", "config/cn=config", "config/cn=config/cn=x", "mdb", "mdb/db", "state"]
			.concat("state/run")
			.toSorted(),
		files: wanted,
	});
});

test("a pull ends before the disk of the mirror is full, and what it has fetched makes room again", async () => {
	await using host = await scriptedHost({ disk_floor: "900000G" });
	mkdirSync(host.path("staging"));
	const endless: Run = (_, options) =>
		new Promise((resolve) => {
			writeFileSync(host.path("staging/data.mdb"), "");
			options.signal?.addEventListener("abort", () =>
				resolve({
					exitCode: undefined,
					signal: "SIGTERM",
					ended: "aborted",
					stdout: "",
					stderr: "",
				}),
			);
		});
	await assert.rejects(pull(optionsOf(host, endless)), (error) => {
		assert.match(String(error), /staging: .* MiB are free.*tenth of disk_floor/);
		assert.match(hintOf(error) ?? "", /make room/);
		return true;
	});
	assert.equal(existsSync(host.path("staging")), false);
});
