import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parseRsync } from "../../src/formats/rsync-request.ts";

const directories = ["/opt/zimbra/redolog/", "/opt/zimbra/data/ldap/"];
const parse = (text: string) => parseRsync(text.split(" "), directories);
const redolog = ". /opt/zimbra/redolog/";

/** What clients sent that were tried: 3.5.0, and by their source 3.1.3 and 2.6.8. */
const served = [
	`rsync --server --sender -lHogDtprze.iLsfxCIvu ${redolog}`,
	"rsync --server --sender -lHogDtprze.iLsfxCIvu . /opt/zimbra/data/ldap/",
	`rsync --server --sender -lHogDtprze.iLsfxC ${redolog}`,
	`rsync --server --sender -lHogDtprz ${redolog}`,
	`rsync --server --sender -lHogDtprIe.iLsfxCIvu -B4096 --inplace ${redolog}`,
	`rsync --server --sender -lHogDtprSe.iLsfxCIvu --timeout=60 --bwlimit=100 ${redolog}`,
	`rsync --server --sender -lHogDtprze.iLsfxCIvu --compress-choice=zstd --numeric-ids ${redolog}`,
];
for (const text of served) {
	test(`served: ${text}`, () => {
		assert.deepEqual(parse(text), { words: text.split(" ").slice(1) });
	});
}

const refused: [string, string][] = [
	["a push", `rsync --server -lHogDtprze.iLsfxCIvu ${redolog}`],
	["a push with --sender later", `rsync --server -lHogDtpr --sender ${redolog}`],
	["secluded arguments", "rsync --server --sender -slHogDtprze.iLsfxCIvu"],
	["secluded arguments with a path", `rsync --server --sender -slHogDtpre.iLsfxCIvu ${redolog}`],
	["a daemon", `rsync --server --daemon ${redolog}`],
	["a daemon behind the sender", `rsync --server --sender --daemon ${redolog}`],
	["another directory", "rsync --server --sender -lHogDtpre.iLsfxCIvu . /etc/"],
	["the hole of 2011: another directory first", `rsync --server --sender -lr . /etc/ ${redolog}`],
	["no slash at the end", "rsync --server --sender -lr . /opt/zimbra/redolog"],
	["a file below", "rsync --server --sender -lr . /opt/zimbra/redolog/redo.log"],
	["a way up", "rsync --server --sender -lr . /opt/zimbra/redolog/../conf/"],
	["two slashes", "rsync --server --sender -lr . /opt/zimbra//redolog/"],
	["a pattern", "rsync --server --sender -lr . /opt/zimbra/*/"],
	["a quoted path", "rsync --server --sender -lr . '/opt/zimbra/redolog/'"],
	["an escaped path", "rsync --server --sender -lr . /opt/zimbra/redo\\log/"],
	["nothing behind the dot", "rsync --server --sender -lr ."],
	["no dot", "rsync --server --sender -lr /opt/zimbra/redolog/"],
	["no letters", `rsync --server --sender ${redolog}`],
	["symlinks followed", `rsync --server --sender -LHogDtpre.iLsfxCIvu ${redolog}`],
	["symlinks to directories followed", `rsync --server --sender -lkre.iLsfxCIvu ${redolog}`],
	["unsafe links copied", `rsync --server --sender -lr --copy-unsafe-links ${redolog}`],
	["links to directories copied", `rsync --server --sender -lr --copy-dirlinks ${redolog}`],
	["relative paths", `rsync --server --sender -lRr ${redolog}`],
	["a filter in letters", `rsync --server --sender -lrf ${redolog}`],
	["a filter", `rsync --server --sender -lr --filter=merge_/etc/passwd ${redolog}`],
	["a list of files", `rsync --server --sender -lr --files-from=/etc/passwd ${redolog}`],
	["a log file", `rsync --server --sender -lr --log-file=/opt/zimbra/.ssh/x ${redolog}`],
	["a log format", `rsync --server --sender -lr --log-format=%o ${redolog}`],
	["removal at the source", `rsync --server --sender -lr --remove-source-files ${redolog}`],
	["devices", `rsync --server --sender -lr --copy-devices ${redolog}`],
	["writing devices", `rsync --server --sender -lr --write-devices ${redolog}`],
	["a configuration", `rsync --server --sender -lr --config=/tmp/x ${redolog}`],
	["debugging", `rsync --server --sender -lr --debug=ALL ${redolog}`],
	["a password file", `rsync --server --sender -lr --password-file=/etc/passwd ${redolog}`],
	["another shell", `rsync --server --sender -lr --rsh=/bin/sh ${redolog}`],
	["an option with a value of its own", `rsync --server --sender -lr -M --log-file=x ${redolog}`],
	["the end of options", `rsync --server --sender -lr -- ${redolog}`],
	["letters twice", `rsync --server --sender -lr -L ${redolog}`],
	["a shell behind the abilities", `rsync --server --sender -lre.;id ${redolog}`],
	["a number that is none", `rsync --server --sender -lr --timeout=60;id ${redolog}`],
	["another program", `/tmp/rsync --server --sender -lr ${redolog}`],
	["too many options", `rsync --server --sender -lr ${"-B1 ".repeat(30)}${redolog}`],
];
for (const [title, text] of refused) {
	test(`refused: ${title}`, () => {
		assert.equal(typeof parse(text).refused, "string");
	});
}

test("with any one word more, or any letter more that is not known, it is refused", () => {
	const known = new Set("lHogDtprzScIWv");
	const word = fc.string({ minLength: 1 }).filter((each) => !/^-B\d{1,9}$/.test(each));
	fc.assert(
		fc.property(word, fc.nat(6), (more, at) => {
			const words = (served[0] ?? "").split(" ");
			assert.ok(parseRsync(words.toSpliced(at, 0, more), directories).refused);
		}),
	);
	fc.assert(
		fc.property(fc.string({ minLength: 1, maxLength: 1 }), (letter) => {
			fc.pre(!known.has(letter));
			const text = `rsync --server --sender -l${letter}r ${redolog}`;
			assert.ok(parse(text).refused);
		}),
	);
});
