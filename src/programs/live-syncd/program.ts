import { Command, CommanderError, Option } from "commander";
import { knowPeer } from "../../services/peer-config.ts";
import { version } from "../../version.ts";
import { configure } from "./setting-up.ts";

/** Reads the command line and runs what it asks for; gives the exit code. */
export async function runProgram(argv: readonly string[]): Promise<number> {
	let code = 0;
	const program = new Command("live-syncd")
		.description(
			"Keeps this server a warm standby of a live Zimbra server: follows its redo log and its LDAP directory.\nWithout a command both loops run in the foreground, with the log on the terminal too.",
		)
		.version(version)
		.option("--config <file>", "live_sync.conf to use; its directory is the base directory")
		.exitOverride()
		.helpCommand(false)
		.option("--licences", "print the licences of all that this program contains")
		.showHelpAfterError("(live-syncd --help tells the commands)");
	const config = () => configure(program.opts<{ config?: string }>().config);
	// For the commands that talk to the other server; `stop` and `kill` never need to know which it is.
	const peerConfig = async () =>
		await knowPeer(await config(), (message) => process.stderr.write(`live-syncd: ${message}\n`));

	program.action(async () => {
		// A command that is not known ends up here too, as an argument.
		const [unknown] = program.args;
		if (unknown !== undefined) program.error(`error: unknown command '${unknown}'`);
		if (program.opts<{ licences?: boolean }>().licences === true) {
			const { help } = await import("./help.ts");
			code = await help(["licences"]);
			return;
		}
		const { foreground } = await import("./foreground.ts");
		code = await foreground(peerConfig);
	});
	program
		.command("start")
		.description("make this server a mirror: check that it can be one, then start both loops")
		.option(
			"--set-aside-own-history",
			"put aside what the local redo log has and the live one has not, and follow from where they part",
		)
		.addOption(
			new Option(
				"--check",
				"change nothing, and tell everything for which a start would be refused; also before the initial copy",
			).conflicts("setAsideOwnHistory"),
		)
		.action(async (options: { setAsideOwnHistory?: boolean; check?: boolean }) => {
			if (options.check === true) {
				const { checkStart } = await import("./start-check.ts");
				code = await checkStart(await peerConfig());
				return;
			}
			const { start } = await import("./start.ts");
			code = await start(await peerConfig(), options);
		});
	program
		.command("stop")
		.description("end the loops and replay all that was received: ready for zmcontrol start")
		.option("--accept-loss", "exit code 0 also where something is known to be missing here")
		.action(async (options: { acceptLoss?: boolean }) => {
			const { stop } = await import("./stop.ts");
			code = await stop(await config(), options);
		});
	program
		.command("status")
		.description("tell how things stand: exit code 0 both loops run, 1 one of them, 3 none")
		.option("--json", "as JSON")
		.action(async (options: { json?: boolean }) => {
			const { status } = await import("./status.ts");
			const file = program.opts<{ config?: string }>().config;
			code = await status({ config: file, json: options.json ?? false });
		});
	program
		.command("kill")
		.description("end everything of live-syncd on this server at once")
		.action(async () => {
			const { kill } = await import("./kill.ts");
			code = await kill(await config());
		});
	program
		.command("forget <address>")
		.description("on the live server: keep no archives for a mirror that is no more")
		.option("--anyway", "also where that mirror streams or was heard of just now")
		.action(async (address: string, options: { anyway?: boolean }) => {
			const { forget } = await import("./forget.ts");
			code = await forget(await config(), address, options);
		});
	program
		.command("help [topic...]")
		.description(
			"explain a command, a code such as [archive-gone], or what to do: help initial-copy",
		)
		.action(async (topic: string[]) => {
			const { help, listTopics } = await import("./help.ts");
			const command = program.commands.find((each) => each.name() === topic[0]);
			if (topic.length === 0) {
				program.outputHelp();
				await listTopics();
			} else if (command !== undefined && topic.length === 1) command.outputHelp();
			else code = await help(topic);
		});
	program
		.command("loop <name>", { hidden: true })
		.description("one loop, as `start` runs it")
		.option("--terminal")
		.action(async (name: string, options: { terminal?: boolean }) => {
			const { runLoop } = await import("./loop.ts");
			if (name !== "redo" && name !== "ldap") throw new Error(`there is no loop ${name}`);
			code = await runLoop(name, await peerConfig(), options.terminal ?? false);
		});

	// Only now, since commands take this over: a word too many is a mistake in all of them.
	program.allowExcessArguments();
	try {
		await program.parseAsync([...argv], { from: "user" });
		return code;
	} catch (error) {
		if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
		throw error;
	}
}
