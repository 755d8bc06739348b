import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { parseSettings, settingNames } from "../../../src/formats/settings/parse.ts";
import { type Setting, settingsTable } from "../../../src/formats/settings/table.ts";

const places = { base_dir: "/opt/zimbra/live_sync" };
const two = 'server1="192.168.108.10"\nserver2="192.168.108.11"\n';

test("the configuration file of 2011 is enough", () => {
	const { settings } = parseSettings(two, places);
	assert.equal(settings?.server1, "192.168.108.10");
	assert.equal(settings?.server2, "192.168.108.11");
	assert.equal(settings?.zimbra_home, "/opt/zimbra");
	assert.equal(settings?.ssh_key, "/opt/zimbra/.ssh/live_sync");
});

test("addresses may be IPv6, comments and blank lines and both kinds of quotes may stand", () => {
	const text = "# servers\n\nserver1='2001:DB8::1' # live\nserver2=\"fe80::2\"\nssh_port=2222\n";
	const { settings } = parseSettings(text, places);
	assert.equal(settings?.server1, "2001:db8::1");
	assert.equal(settings?.ssh_port, 2222);
	const zoned = parseSettings("server1='FE80::1%enP2p1s0'\nserver2='::2'", places);
	assert.equal(zoned.settings?.server1, "fe80::1%enP2p1s0");
});

test("every default is a value that its own setting takes", () => {
	const { settings, problems } = parseSettings(two, places);
	assert.deepEqual(problems, undefined);
	for (const name of settingNames) assert.notEqual(settings?.[name], undefined, name);
});

test("a default written into the file gives the same value as none", () => {
	const lines = settingNames.flatMap((name) => {
		const setting: Setting = settingsTable[name];
		return setting.default === undefined ? [] : [`${name}="${setting.default}"`];
	});
	assert.deepEqual(parseSettings(`${two}${lines.join("\n")}`, places), parseSettings(two, places));
});

test("durations, sizes, commands and flags become what the program needs", () => {
	const text = `${two}replay_interval="1.5m"\nlink_timeout="2500ms"\ndisk_floor="500M"\nreplay_stop_on_error="yes"\nmysql_flush_command="mysql -e 'FLUSH ENGINE LOGS'"\n`;
	const { settings } = parseSettings(text, places);
	assert.equal(settings?.replay_interval, 90_000);
	assert.equal(settings?.link_timeout, 2500);
	assert.equal(settings?.disk_floor, 500 * 2 ** 20);
	assert.equal(settings?.replay_stop_on_error, true);
	assert.deepEqual(settings?.mysql_flush_command, ["mysql", "-e", "FLUSH ENGINE LOGS"]);
});

test("all problems are told at once, each with its line and what would be right", () => {
	const text = [
		'server1="192.168.108.300"',
		'replay_intervall="5s"',
		'ssh_port="0"',
		"what is this",
		'ssh_port="22"',
		'log_format="xml"',
		'ldap_command="unended \'quote"',
		'zimbra_home="$HOME"',
	].join("\n");
	const { problems = [] } = parseSettings(text, places);
	const told = problems.map(({ line, message }) => `${line}: ${message}`);
	assert.equal(told.length, 9, told.join("\n"));
	for (const expected of [
		/^0: server2 is missing: an IPv4 or IPv6 address/,
		/^1: server1="192\.168\.108\.300" will not do: an IPv4/,
		/^2: unknown setting replay_intervall; did you mean replay_interval\?/,
		/^3: ssh_port="0" will not do: a whole number from 1 to 65535/,
		/^4: not of the form name="value"/,
		/^5: ssh_port stands in line 3 already/,
		/^6: log_format="xml" will not do: one of lines, json/,
		/^7: ldap_command=/,
		/^8: zimbra_home: \$, ` and \\ are not expanded/,
	]) {
		assert.ok(
			told.some((line) => expected.test(line)),
			`${expected} in\n${told.join("\n")}`,
		);
	}
});

test("two servers of one address are refused", () => {
	const { problems } = parseSettings('server1="::1"\nserver2="::1"', places);
	assert.match(problems?.[0]?.message ?? "", /same address/);
});

test("bash, which sourced this file in 2011, reads the same values", () => {
	const text = `${two}path="/a b:/c"\nlog_level='warn' # less\nssh_port=2222\n`;
	const { settings } = parseSettings(text, places);
	const script = `${text}printf '%s|%s|%s|%s' "$server1" "$path" "$log_level" "$ssh_port"`;
	const said = execFileSync("bash", ["-c", script], { encoding: "utf8" });
	const ours = [
		settings?.server1,
		settings?.path.join(":"),
		settings?.log_level,
		settings?.ssh_port,
	];
	assert.equal(said, ours.join("|"));
});
