import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import {
	findKnownHosts,
	hostKeyAlgorithms,
	hostName,
	judgeHostKey,
} from "../../../src/formats/ssh/known-hosts.ts";

const key = Buffer.from("a key of the host").toString("base64");
const other = Buffer.from("another key").toString("base64");

test("a host on another port than 22 has a name of its own, as in OpenSSH", () => {
	assert.equal(hostName("10.0.0.1", 22), "10.0.0.1");
	assert.equal(hostName("::1", 2222), "[::1]:2222");
});

test("names, lists, patterns and their exceptions are read as OpenSSH reads them", () => {
	const text = `# comment\n10.0.0.1,[::1]:2222 ssh-ed25519 ${key}\n*.example.net,!bad.example.net ssh-rsa ${other}\n@cert-authority * ssh-ed25519 ${other}\n`;
	assert.equal(findKnownHosts(text, "10.0.0.1").length, 1);
	assert.equal(findKnownHosts(text, "[::1]:2222").length, 1);
	assert.equal(findKnownHosts(text, "10.0.0.11").length, 0);
	assert.equal(findKnownHosts(text, "mail.example.net").length, 1);
	assert.equal(findKnownHosts(text, "bad.example.net").length, 0);
});

test("a line with a marker that nobody knows says nothing of the key on it", () => {
	for (const marker of ["@trusted", "@REVOKED", "@", "@cert-authority"]) {
		assert.deepEqual(findKnownHosts(`${marker} h ssh-ed25519 ${key}`, "h"), [], marker);
	}
	assert.equal(findKnownHosts(`@revoked h ssh-ed25519 ${key}`, "h")[0]?.revoked, true);
});

test("a pattern with many stars takes no longer than its length", () => {
	const matches = (pattern: string, name: string) =>
		findKnownHosts(`${pattern} ssh-ed25519 ${key}`, name).length === 1;
	assert.equal(matches(`${"*a".repeat(40)}b`, `${"a".repeat(60)}.example.net`), false);
	assert.equal(matches(`${"*".repeat(100_000)}x`, "a".repeat(200)), false);
	assert.equal(matches(`${"*a".repeat(40)}*`, "a".repeat(60)), true);
});

test("stars and question marks match as in OpenSSH, in any case of letters", () => {
	const matches = (pattern: string, name: string) =>
		findKnownHosts(`${pattern} ssh-ed25519 ${key}`, name).length === 1;
	for (const pattern of ["*", "10.*", "*.1", "1?.0.0.1", "10.*.*1*", "**10.0.0.1**", "10.0.*0.1"]) {
		assert.equal(matches(pattern, "10.0.0.1"), true, pattern);
	}
	for (const pattern of ["?", "10.0.0.1?", "*2", "1*.0.0.2", "10.0.0", "0.0.0.1", "10?0?0?1?*"]) {
		assert.equal(matches(pattern, "10.0.0.1"), false, pattern);
	}
	assert.equal(matches("*.EXAMPLE.net", "Mail.example.NET"), true);
	assert.equal(matches("[::1]:22*", "[::1]:2222"), true);
	assert.equal(matches("10+0.0.1,(10).0.0.1,10.0.0.1$", "10.0.0.1"), false);
});

test("hashed names, as ssh-keygen -H writes them, are found", () => {
	const directory = mkdtempSync(join(tmpdir(), "known-hosts-"));
	try {
		const file = join(directory, "known_hosts");
		execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", join(directory, "k")]);
		const [type, blob] = readFileSync(join(directory, "k.pub"), "utf8").split(" ");
		writeFileSync(file, `[10.0.0.1]:2222 ${type} ${blob}\n`);
		execFileSync("ssh-keygen", ["-q", "-H", "-f", file], { stdio: "ignore" });
		const text = readFileSync(file, "utf8");
		assert.match(text, /^\|1\|/);
		const [found] = findKnownHosts(text, "[10.0.0.1]:2222");
		assert.equal(found?.key.toString("base64"), blob);
		assert.equal(findKnownHosts(text, "10.0.0.1").length, 0);
	} finally {
		rmSync(directory, { recursive: true });
	}
});

test("only the pinned key will do; a revoked one never does", () => {
	const known = findKnownHosts(`h ssh-ed25519 ${key}`, "h");
	assert.equal(judgeHostKey(known, Buffer.from(key, "base64")), "known");
	assert.equal(judgeHostKey(known, Buffer.from(other, "base64")), "other key");
	assert.equal(judgeHostKey([], Buffer.from(key, "base64")), "unknown host");
	const revoked = findKnownHosts(`@revoked h ssh-ed25519 ${key}\nh ssh-ed25519 ${key}`, "h");
	assert.equal(judgeHostKey(revoked, Buffer.from(key, "base64")), "revoked");
});

test("the host is asked for the kind of key that is pinned, without SHA-1", () => {
	const known = findKnownHosts(`h ssh-rsa ${key}\nh ssh-ed25519 ${other}`, "h");
	assert.deepEqual(hostKeyAlgorithms(known), ["rsa-sha2-512", "rsa-sha2-256", "ssh-ed25519"]);
});
