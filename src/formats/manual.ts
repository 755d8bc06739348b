/**
 * Pages of the documentation that the program carries, so that a hint names what is on the server: the
 * pages themselves are not there.
 */

/** As headings are named in links, and after `live-syncd help`. */
const topicOf = (heading: string): string =>
	heading
		.toLowerCase()
		.replaceAll(/[^\w\- ]/g, "")
		.trim()
		.replaceAll(" ", "-");

/** A section of a page, with its heading; the parts of a code block are none. */
type Section = { readonly topic: string; readonly text: string };

function sectionsOf(page: string): Section[] {
	const sections: { topic: string; lines: string[] }[] = [];
	let code = false;
	for (const line of page.split("\n")) {
		if (line.startsWith("```")) code = !code;
		const heading = code ? undefined : /^## (.+)$/.exec(line)?.[1];
		if (heading !== undefined) sections.push({ topic: topicOf(heading), lines: [] });
		sections.at(-1)?.lines.push(line);
	}
	return sections.map(({ topic, lines }) => ({ topic, text: `${lines.join("\n").trim()}\n` }));
}

/** Page names without `.md`, and their texts. */
export type Pages = ReadonlyMap<string, string>;

/** What `help TOPIC` may be given for a page: its sections. */
export const topicsIn = (page: string): string[] => sectionsOf(page).map(({ topic }) => topic);

/**
 * The page of that name, or every section that has the topic as its heading: an error and the runbook for
 * it may bear one name. Undefined where there is none.
 */
export function lookUp(pages: Pages, words: readonly string[]): string | undefined {
	const asked = topicOf(words.join(" ").replace(/\.md$/, ""));
	const page = pages.get(asked);
	if (page !== undefined) return page;
	const found: string[] = [];
	for (const [name, text] of pages) {
		// `help runbook initial-copy` as well as `help initial-copy`
		const within = asked.replace(new RegExp(`^${name.replace(/s$/, "")}s?-`), "");
		found.push(
			...sectionsOf(text)
				.filter(({ topic }) => topic === within)
				.map((section) => section.text),
		);
	}
	return found.length === 0 ? undefined : found.join("\n");
}

/** Links to a section of a page become the command that prints it. */
export const withoutLinks = (text: string, program: string, pages: Pages): string =>
	text.replaceAll(
		/\[([^\]]+)\]\((?:\.\.\/|docs\/)?(?:([\w-]+)\.md)?(?:#([\w-]+))?\)/g,
		(whole, words: string, file?: string, section?: string) => {
			const page = file?.toLowerCase();
			if (page !== undefined && !pages.has(page)) return words;
			const topic = section ?? page;
			return topic === undefined ? whole : `${words} (${program} help ${topic})`;
		},
	);

/** A hint as it is shown on a server: pages and our own commands by what can be typed there. */
export const typable = (hint: string, program: string): string =>
	hint
		.replaceAll(
			/\b(?:docs\/([\w-]+)|(README))\.md(?:, ([a-z][a-z ]*[a-z]))?/g,
			(_, page?: string, readme?: string, heading?: string) =>
				`${program} help ${topicOf(heading ?? page ?? readme ?? "")}`,
		)
		.replaceAll(/(?<![\w/.-])live-syncd(?= (?:start|stop|status|kill|forget|help|--)\b)/g, program);
