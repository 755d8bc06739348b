import { lookUp, topicsIn, withoutLinks } from "../../formats/manual.ts";
import { liveSyncdPath, readManual, readNotices } from "../../services/manual.ts";
import { answer } from "../../services/standard-output.ts";

/** What `help` has besides the commands: codes of refusals, runbooks, whole pages. */
export async function listTopics(): Promise<void> {
	const pages = await readManual();
	const row = (name: string, topics: readonly string[]) => `${name}: ${topics.join(" ")}\n`;
	const sections = (page: string) => topicsIn(pages.get(page) ?? "");
	await answer(
		[
			"\nhelp TOPIC prints a part of the documentation:\n\n",
			row("codes", sections("errors")),
			row("\nrunbooks", sections("runbooks")),
			row("\npages", [...pages.keys(), "licences"]),
		].join(""),
	);
}

/** Prints what is asked for; gives the exit code. */
export async function help(words: readonly string[]): Promise<number> {
	if (words.join(" ") === "licences") {
		await answer(await readNotices());
		return 0;
	}
	const pages = await readManual();
	const found = lookUp(pages, words);
	if (found === undefined) {
		process.stderr.write(
			`live-syncd: there is no topic ${words.join(" ")}\n  try: ${liveSyncdPath()} help\n`,
		);
		return 2;
	}
	await answer(withoutLinks(found, liveSyncdPath(), pages));
	return 0;
}
