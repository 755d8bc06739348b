import assert from "node:assert/strict";
import { test } from "node:test";
import { lookUp, topicsIn, typable, withoutLinks } from "../../src/formats/manual.ts";

const pages = new Map([
	["errors", "# Errors\n\nwords\n\n## divergence\n\nTwo histories.\n"],
	[
		"runbooks",
		"# Runbooks\n\n## Divergence\n\n```sh\n## no heading\n```\n\n## Split brain\n\nTwo.\n",
	],
]);

test("a hint names commands and pages by what can be typed on the server", () => {
	const program = "/opt/zimbra/live_sync/live-syncd";
	const shown = [
		["docs/runbooks.md, initial copy", `${program} help initial-copy`],
		["docs/runbooks.md, divergence, tells how", `${program} help divergence, tells how`],
		[
			"mend the file; docs/settings.md has every setting",
			`mend the file; ${program} help settings has every setting`,
		],
		["see README.md (base /opt)", `see ${program} help readme (base /opt)`],
		["live-syncd kill, then live-syncd start", `${program} kill, then ${program} start`],
		["`live-syncd start --anything`", `\`${program} start --anything\``],
		["install live-syncd there too", "install live-syncd there too"],
		[`${program} stop`, `${program} stop`],
	];
	for (const [hint = "", expected = ""] of shown) {
		assert.equal(typable(hint, program), expected);
		assert.equal(typable(expected, program), expected, "twice is as once");
	}
});

test("a topic is a heading or a page; an error and its runbook are found together", () => {
	assert.deepEqual(topicsIn(pages.get("runbooks") ?? ""), ["divergence", "split-brain"]);
	assert.equal(lookUp(pages, ["split", "brain"]), "## Split brain\n\nTwo.\n");
	assert.equal(lookUp(pages, ["runbook", "split-brain"]), "## Split brain\n\nTwo.\n");
	assert.match(lookUp(pages, ["divergence"]) ?? "", /Two histories[\s\S]*no heading/);
	assert.equal(lookUp(pages, ["error", "divergence"])?.includes("Two histories"), true);
	assert.equal(lookUp(pages, ["errors.md"]), pages.get("errors"));
	assert.equal(lookUp(pages, ["nothing"]), undefined);
});

test("a link in what is printed is the command that prints the other part", () => {
	const print = (text: string) => withoutLinks(text, "/x/live-syncd", pages);
	assert.equal(print("[this](runbooks.md#split-brain)"), "this (/x/live-syncd help split-brain)");
	assert.equal(print("[code](#divergence)"), "code (/x/live-syncd help divergence)");
	assert.equal(print("[page](docs/errors.md)"), "page (/x/live-syncd help errors)");
	const withReadme = new Map([...pages, ["readme", "# All"]]);
	assert.equal(
		withoutLinks("[keys](../README.md#keys)", "/x/live-syncd", withReadme),
		"keys (/x/live-syncd help keys)",
	);
	assert.equal(print("[elsewhere](protocol.md#requests)"), "elsewhere");
	assert.equal(print("[archive-gone] stays"), "[archive-gone] stays");
});
