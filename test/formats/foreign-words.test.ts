import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { foreignLines, foreignWords } from "../../src/formats/foreign-words.ts";

test("plain words of any language stay as they are", () => {
	for (const words of ["permission denied", "Zugriff verweigert: Größe", "拒绝访问", "a  b 🙂"]) {
		assert.equal(foreignWords(words), words);
	}
});

test("what orders a terminal about is gone: colours, cursor, title, clipboard", () => {
	assert.equal(
		foreignWords("\u001b[31mred\u001b[0m \u001b[2J\u001b[Hall \u009b1A\u001bcok"),
		"red all ok",
	);
	assert.equal(
		foreignWords("a\u001b]0;title\u0007b\u001b]52;c;aGk=\u001b\\c\u001bPq\u001b\\d"),
		"abcd",
	);
});

test("an order that does not end swallows no words behind it", () => {
	assert.match(foreignWords("\u001b]0;account expired"), /account expired/);
	assert.match(foreignWords("\u009daccount expired"), /account expired/);
});

test("no line can be forged, and no text turned around", () => {
	assert.equal(
		foreignWords("one\r\ntwo\u2028three\u2029four\u0085five\0six"),
		"one two three four five six",
	);
	assert.equal(foreignWords("gpj\u202Eexe.\u2066x\u2069\u200B\u{E0041}"), "gpjexe.x");
	assert.equal(foreignWords("half \uD83D of a pair"), "half  of a pair");
});

test("several lines stand behind one another, without the empty ones", () => {
	assert.equal(foreignLines("one\n\n  two\r\nthree \u001b[1m\n"), "one | two | three");
});

test("a text of megabytes is cut, visibly, and in no time that grows with what it is made of", () => {
	const words = foreignWords("x".repeat(1 << 20));
	assert.equal(words, `${"x".repeat(1000)} […cut, of 1048576 characters]`);
	for (const part of [
		"\u001b]",
		"\u009d",
		"\u001b[",
		"\u001b[0;",
		"\n",
		"\u202e",
		"a\n",
		"\u001b ",
	]) {
		assert.ok(foreignLines(part.repeat(1 << 20)).length < 1100);
	}
});

test("whatever comes: one line of bounded length, and nothing that is no plain text", () => {
	const text = fc.string({ unit: "binary", maxLength: 300 });
	fc.assert(
		fc.property(text, fc.integer({ min: 1, max: 200 }), (said, limit) => {
			for (const words of [foreignWords(said, limit), foreignLines(said, limit)]) {
				assert.doesNotMatch(words, /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/u);
				assert.ok(words.length <= limit + 40);
			}
		}),
	);
});
