import assert from "node:assert/strict";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { createPair } from "./pair.ts";

for (const writemap of [true, false])
	test(`a real slapd knows the accounts, ${writemap ? "as Zimbra ships it" : "with plain file I/O"}`, async () => {
		await using pair = await createPair({ ldap: { writemap }, accounts: 2 });
		const { a, b } = pair;
		assert.equal(await a.mustRun("zmprov", "-l", "gaa"), "user1@example.net\nuser2@example.net\n");
		const id = await a.createAccount("new@example.net");
		assert.match(
			await a.mustRun("zmprov", "ga", "new@example.net", "zimbraId"),
			new RegExp(`zimbraId: ${id}`),
		);
		const again = await a.run("zmprov", "-l", "ca", "new@example.net", "secret");
		assert.deepEqual([again.code, /ACCOUNT_EXISTS/.test(again.stderr)], [2, true]);
		const [mailbox, mail] = await a.mailbox.deliver({ to: ["new@example.net"] });
		assert.equal(mailbox?.mailboxId, mail?.mailboxId);

		// cn=config came along with the copy, and is valid on the other host as it stands
		await b.mustRun("ldap", "start");
		assert.equal(await b.mustRun("zmprov", "-l", "gaa"), "user1@example.net\nuser2@example.net\n");
	});

test("the database is the sparse file that Zimbra's slapd makes, and grows by transactions", async () => {
	await using pair = await createPair({ ldap: true, started: false });
	const { a } = pair;
	await a.mustRun("ldap", "start");
	const { size, blocks } = statSync(a.path("data/ldap/mdb/db/data.mdb"));
	assert.equal(size, 80 * 2 ** 30);
	assert.ok(blocks * 512 < 10 * 2 ** 20);
	const transaction = async () =>
		Number(
			/Last transaction ID: (\d+)/.exec(
				await a.mustRun("mdb_stat", "-e", a.path("data/ldap/mdb/db")),
			)?.[1],
		);
	const before = await transaction();
	await a.createAccount("new@example.net");
	assert.equal((await transaction()) - before, 1);
});

test("settings are read and set as in LDAP, and a server inherits the global ones", async () => {
	await using pair = await createPair({ ldap: true, started: false });
	const { a } = pair;
	await a.mustRun("ldap", "start");
	const get = () => a.mustRun("zmprov", "-l", "gacf", "zimbraRedoLogDeleteOnRollover");
	assert.equal(await get(), "zimbraRedoLogDeleteOnRollover: FALSE\n");
	await a.mustRun("zmprov", "-l", "mcf", "zimbraRedoLogDeleteOnRollover", "TRUE");
	assert.equal(await get(), "zimbraRedoLogDeleteOnRollover: TRUE\n");
	const name = (await a.mustRun("zmhostname")).trim();
	const server = await a.mustRun("zmprov", "-l", "gs", name, "zimbraRedoLogDeleteOnRollover");
	assert.equal(server, `# name ${name}\nzimbraRedoLogDeleteOnRollover: TRUE\n\n`);
});

test("ldap start fails where slapd runs or cannot, and stop succeeds where it does not run", async () => {
	await using pair = await createPair({ ldap: true, started: false });
	const { b } = pair;
	assert.deepEqual(
		[(await b.run("ldap", "status")).code, (await b.run("ldap", "stop")).code],
		[1, 0],
	);
	await b.mustRun("ldap", "start");
	assert.match(await b.mustRun("ldap", "status"), /pid/);
	assert.equal((await b.run("ldap", "start")).code, 1);
	await b.mustRun("ldap", "stop");
	writeFileSync(b.path("data/ldap/mdb/db/data.mdb"), Buffer.alloc(4096, 0x5a));
	assert.equal((await b.run("ldap", "start")).code, 1);
	assert.equal((await b.run("ldap", "status")).code, 1);
});

test("zmprov without -l needs mailboxd, and a wrong password is refused by slapd", async () => {
	await using pair = await createPair({ ldap: true, started: false });
	const { a } = pair;
	await a.mustRun("ldap", "start");
	assert.equal((await a.run("zmprov", "gacf")).code, 2);
	const config = a.path("conf/localconfig.xml");
	writeFileSync(config, readFileSync(config, "utf8").replace("secret-of-zimbra", "changed"));
	assert.notEqual((await a.run("zmprov", "-l", "gacf")).code, 0);
	assert.equal(
		(await a.mustRun("zmlocalconfig", "-s", "-m", "nokey", "zimbra_ldap_password")).trim(),
		"changed",
	);
});

test("the service commands say what the real ones say", async () => {
	await using pair = await createPair();
	const { a, b } = pair;
	assert.match(await a.mustRun("zmcontrol", "status"), /ldap\s+Running\n\tmailbox\s+Running/);
	assert.equal((await b.run("zmcontrol", "status")).code, 1);
	assert.match(await a.mustRun("zmcontrol", "-v"), /^Release 8\.8\.15.* FOSS edition, Patch /);
	assert.equal((await b.run("zmmailboxdctl", "status")).code, 1);
	assert.equal(existsSync(a.path("bin/zmschedulebackup")), false);

	b.startFails("mysql", true);
	const start = await b.run("mysql.server", "start");
	assert.deepEqual([start.code, /failed\.$/m.test(start.stdout)], [0, true]);
	assert.notEqual((await b.run("mysql.server", "status")).code, 0);
	assert.equal((await b.run("mysqladmin", "ping")).code, 1);

	// It does not know where it cannot find out.
	await b.run("rm", "-r", b.path("mailboxd"));
	assert.equal((await b.run("zmmailboxdctl", "status")).code, 0);
});

test("the Network Edition has a backup schedule, and its incremental backups take the archives away", async () => {
	await using pair = await createPair({ edition: "network" });
	const { a } = pair;
	assert.match(await a.mustRun("zmschedulebackup", "-q"), /^\s*i( [0-9*-]+){5}$/m);
	await a.mailbox.deliver({ to: ["user1@example.net"] });
	await a.mailbox.rollover();
	a.moveArchivesToBackup();
	assert.equal((await a.mustRun("ls", a.path("redolog/archive"))).trim(), "");
});
