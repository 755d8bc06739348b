import type { Fields } from "./fields.ts";

/**
 * What follows the common part of a record. `at(n)` tells whether the record's version is 1.n or later.
 */
export type Layout = (f: Fields, at: (minor: number) => boolean) => void;

export const none: Layout = () => {};
export const ids = (f: Fields) => f.list("ids", "int", (each) => each.int("id"));
/** Old records have one id, newer ones -1 and a list. */
export const idsUnless = (f: Fields, single: number) => {
	if (single <= 0) ids(f);
};
export const color = (f: Fields, at: (minor: number) => boolean) =>
	at(27) ? f.long("color") : f.byte("color");
export const constraint = (f: Fields) => {
	if (f.flag("hasConstraint")) f.text("constraint");
};
export const custom = (f: Fields) => {
	if (f.text("customKey") !== null) f.text("customValue");
};
export const rectangle = (f: Fields) => {
	for (const name of ["x", "y", "width", "height"]) f.int(name);
};
export const attributes = (f: Fields) =>
	f.list("attributes", "short", (each) => {
		each.text("key");
		each.text("value");
	});
export const content = (f: Fields) => f.body("content");

export const message: Layout = (f, at) => {
	f.text("recipient");
	if (at(4)) f.long("received");
	f.flag("shared");
	f.text("digest");
	if (at(42)) f.long("size");
	else f.int("size");
	f.int("id");
	f.int("folder");
	f.int("conversation");
	if (at(5)) f.int("conversationFirst");
	if (at(32)) f.list("merged", "int", (each) => each.int("id"));
	f.int("calendarItem");
	if (at(1)) f.text("partStat");
	f.int("flags");
	f.flag("noICal");
	if (at(33)) f.texts("tags");
	else f.text("tagIds");
	f.text("path");
	f.short("volume");
	if (at(25)) custom(f);
	if (f.byte("bodyType") === bodyType.inline) f.body("data");
	else f.short("linkVolume");
};
export const bodyType = { inline: 1, link: 2 } as const;

export const savedDocument: Layout = (f, at) => {
	f.text("filename");
	f.text("mimeType");
	f.text("author");
	f.byte("type");
	if (at(29)) f.text("description");
	if (at(31)) f.flag("descriptionEnabled");
	if (at(37)) f.text("uuid");
	message(f, at);
};
export const copies: Layout = (f, at) => {
	const source = f.int("oldSource");
	const target = f.int("oldTarget");
	f.byte("type");
	f.int("folder");
	f.short("volume");
	if (source <= 0 || target <= 0)
		f.list("copies", "int", (each) => {
			each.int("source");
			each.int("target");
			if (at(37)) each.text("uuid");
		});
	if (at(30)) f.flag("fromDumpster");
};
export const renamedItem: Layout = (f, at) => {
	f.int("id");
	f.int("folder");
	f.text("name");
	f.byte("type");
	if (at(40) && f.flag("hasDate")) f.long("date");
};
export const renamedPath: Layout = (f, at) => {
	f.int("id");
	f.text("path");
	f.list("parents", "int", (each) => {
		each.int("id");
		if (at(37)) each.text("uuid");
	});
	f.byte("type");
};
export const mountpoint: Layout = (f, at) => {
	f.int("id");
	if (at(37)) f.text("uuid");
	f.text("name");
	f.text("owner");
	f.int("remote");
	if (at(38)) f.text("remoteUuid");
	f.int("folder");
	f.byte("view");
	f.int("flags");
	color(f, at);
	if (at(33)) f.flag("reminder");
};
export const volume = (f: Fields) => {
	f.short("id");
	f.short("type");
	f.text("name");
	f.text("root");
	for (const name of ["groupBits", "bits", "fileGroupBits", "fileBits"]) f.short(name);
};
export const policies = (name: string, f: Fields) =>
	f.list(name, "int", (each) => {
		each.text("id");
		each.text("lifetime");
	});
export const lock: Layout = (f) => {
	f.byte("type");
	f.text("account");
	f.int("id");
};
export const theId: Layout = (f) => f.int("id");
export const endOf: Layout = (f) => f.int("operation");
