import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import {
	appendFileSync,
	chmodSync,
	existsSync,
	mkdirSync,
	readFileSync,
	statSync,
	symlinkSync,
	writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { Host } from "../../pair/host.ts";
import {
	checkWhole,
	configure,
	Directory,
	installedCopy,
	ldapPair,
	placeOf,
	readLog,
	readState,
	realSize,
	startFollowing,
	startLoop,
	waitFor,
} from "./support.ts";

const hasCompiler = spawnSync("cc", ["--version"]).status === 0;

/** A module of slapd that does no more than to leave a file where it was loaded. */
function makeModule(host: Host, file: string, trace: string): void {
	const source = join(host.directory, "module.c");
	writeFileSync(
		source,
		`#include <stdio.h>
__attribute__((constructor)) static void loaded(void) { fclose(fopen("${trace}", "w")); }
int init_module(int argc, char *argv[]) { return 0; }
`,
	);
	execFileSync("cc", ["-shared", "-fPIC", "-o", file, source]);
}

for (const method of ["a snapshot", "file by file"] as const) {
	test(`code that comes with the live server's cn=config runs nowhere on the mirror (${method})`, {
		skip: hasCompiler ? false : "no C compiler here",
	}, async () => {
		await using pair = await ldapPair({ ldap: { writemap: false } });
		const { a, b } = pair;
		if (method === "file by file") {
			await realSize(a);
			mkdirSync(join(a.directory, "tools"));
			for (const tool of ["rsync", "sh"]) {
				symlinkSync(`/usr/bin/${tool}`, join(a.directory, "tools", tool));
			}
			configure(a, { path: join(a.directory, "tools") });
		}
		const trace = join(b.directory, "loaded");
		makeModule(a, a.path("data/ldap/config/cn=config/evil.so"), trace);
		appendFileSync(
			a.path("data/ldap/config/cn=config/cn=module{0}.ldif"),
			[b.path("live_sync/ldap/next"), b.path("data/ldap")]
				.map((place, i) => `olcModuleLoad: {${2 + i}}${place}/config/cn=config/evil.so\n`)
				.join(""),
		);
		// An older version of live-syncd fetched such a file; an entry was deleted on the live server since.
		mkdirSync(placeOf(b, "staging/config"), { recursive: true });
		writeFileSync(placeOf(b, "staging/config/cn=config.ldif.old"), "");
		writeFileSync(placeOf(b, "staging/config/cn=a.ldif"), "dn: cn=a\nolcPlugin: a\n");
		await using loop = startLoop(b);
		const problem = await waitFor("the refusal", b, () =>
			readState(b)?.problems.find(({ code }) => code === "ldap-config"),
		);
		assert.match(
			problem.message,
			/cn=module\{0\}\.ldif: olcmoduleload: .*evil\.so is not taken over/,
		);
		assert.equal(existsSync(trace), false, "the module was loaded");
		assert.equal(existsSync(placeOf(b, "staging/config/cn=config/evil.so")), false);
		assert.equal(installedCopy(b), undefined);
		await loop.stop();
		assert.equal(
			existsSync(placeOf(b, "next")),
			false,
			"nothing that was refused is left to be used",
		);
		assert.equal(await new Directory(b).hasAccount("user1"), true, "what was in use serves on");
	});
}

test("a value that the live server's slapd may have, and ours must not, is refused until it is gone", async () => {
	await using pair = await ldapPair();
	const { a, b } = pair;
	await using _loop = await startFollowing(b);
	const good = installedCopy(b)?.id;
	const file = a.path("data/ldap/config/cn=config.ldif");
	const before = readFileSync(file, "utf8");
	const victim = b.path("conf/victim");
	writeFileSync(file, `${before}olcLogFile: ${victim}\nolcLogLevel: 256\n`);
	await waitFor("the refusal", b, () => /olclogfile: .* is not taken over/.test(readLog(b)));
	assert.equal(installedCopy(b)?.id, good);
	assert.equal(existsSync(victim), false);
	writeFileSync(file, before);
	await new Directory(a).addAccount("later");
	await waitFor("the next copy", b, () => new Directory(b).hasAccount("later"));
	await waitFor("the end of it", b, () => readState(b)?.problems.length === 0);
});

test("rights of the live server's files that would give power to others do not arrive", async () => {
	await using pair = await ldapPair();
	const { a, b } = pair;
	chmodSync(a.path("data/ldap/config/cn=config.ldif"), 0o6777);
	chmodSync(a.path("data/ldap/config"), 0o7777);
	await using _loop = await startFollowing(b);
	assert.equal(statSync(b.path("data/ldap/config/cn=config.ldif")).mode & 0o7777, 0o644);
	assert.equal(statSync(b.path("data/ldap/config")).mode & 0o7777, 0o755);
	assert.ok((await checkWhole(b)) > 0);
});

test("the note that a copy is whole and checked cannot come from the live server", async () => {
	await using pair = await ldapPair();
	const { a, b } = pair;
	const loop = await startFollowing(b);
	await loop.stop();
	// As if the live server's rsync sent it, against the rules.
	const rsync = b.path("bin/rsync");
	writeFileSync(
		rsync,
		`#!/bin/sh
PATH=/usr/bin:/bin rsync "$@" || exit
for last; do :; done
echo '{"id":"forged","takenAt":9e15}' >"$last.live_sync.json"
`,
	);
	chmodSync(rsync, 0o755);
	await new Directory(a).addAccount("late");
	assert.equal(await startLoop(b, "ldap-round:before-check").ended, "SIGKILL");
	assert.equal(existsSync(placeOf(b, "next/config")), true);
	assert.equal(existsSync(placeOf(b, "next/.live_sync.json")), false);
});
