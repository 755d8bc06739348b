/** `zmprov [-l] ca | ga | gaa | ma | gacf | mcf | gs | ms`: accounts and settings. */
import { existsSync } from "node:fs";
import { openProvisioning, type Provisioning, ProvisioningError } from "../store/provisioning.ts";
import { home, hostDirectory, mailboxSocket } from "./place.ts";

const words = process.argv.slice(2);
const direct = words[0] === "-l" || words[0] === "--ldap";
if (direct) words.shift();
const [command = "", ...rest] = words;
const say = (text: string): void => {
	process.stdout.write(`${text}\n`);
};

try {
	// Without -l it asks mailboxd's admin port.
	if (!direct && !existsSync(mailboxSocket))
		throw new ProvisioningError(
			"zclient.IO_ERROR (invoke Connection refused (Connection refused))",
		);
	await run(openProvisioning(home, hostDirectory));
} catch (error) {
	const text =
		error instanceof ProvisioningError
			? error.message
			: "service.FAILURE (system failure: unable to lookup via query: cannot contact LDAP server)";
	process.stderr.write(`ERROR: ${text}\n`);
	process.exit(error instanceof ProvisioningError ? 2 : 1);
}

async function run(to: Provisioning): Promise<void> {
	const [first = "", second = ""] = rest;
	switch (command) {
		case "ca":
		case "createAccount":
			return say(await to.createAccount(first, second));
		case "ga":
		case "getAccount":
			say(`# name ${first}`);
			return show(await to.account(first), rest.slice(1));
		case "gaa":
		case "getAllAccounts":
			return say((await to.accounts()).join("\n"));
		case "ma":
		case "modifyAccount":
			return await to.modifyAccount(first, pairs(rest.slice(1)));
		case "gacf":
		case "getAllConfig":
			return show(await to.settings(), rest);
		case "mcf":
		case "modifyConfig":
			return await to.modifySettings(pairs(rest));
		case "gs":
		case "getServer":
			say(`# name ${first}`);
			return show({ ...(await to.settings()), ...(await to.server(first)) }, rest.slice(1));
		case "ms":
		case "modifyServer":
			return await to.modifyServer(first, pairs(rest.slice(1)));
		case "gas":
		case "getAllServers":
			if (!rest.includes("-v")) return say((await to.servers()).join("\n"));
			for (const name of await to.servers()) {
				say(`# name ${name}`);
				show({ ...(await to.settings()), ...(await to.server(name)) }, []);
				say("");
			}
			return;
		default:
			throw new ProvisioningError(`Unknown command ${command}. Type: 'zmprov help'`);
	}
}

function show(entry: Readonly<Record<string, readonly string[]>>, names: readonly string[]): void {
	for (const [name, values] of Object.entries(entry).sort(([a], [b]) => (a < b ? -1 : 1)))
		if (names.length === 0 || names.includes(name))
			for (const value of values) say(`${name}: ${value}`);
	if (process.argv.includes("ga") || process.argv.includes("gs")) say("");
}

function pairs(list: readonly string[]): Record<string, string> {
	const made: Record<string, string> = {};
	for (let i = 0; i + 1 < list.length; i += 2) made[list[i] ?? ""] = list[i + 1] ?? "";
	return made;
}
