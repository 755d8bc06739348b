import {
	attributes,
	color,
	constraint,
	content,
	copies,
	custom,
	endOf,
	ids,
	idsUnless,
	type Layout,
	lock,
	message,
	mountpoint,
	none,
	policies,
	rectangle,
	renamedItem,
	renamedPath,
	savedDocument,
	theId,
	volume,
} from "./layout-parts.ts";

/** Operations that the simulated mailbox carries out. */
export const op = {
	checkpoint: 1,
	commit: 3,
	abort: 4,
	createMailbox: 7,
	alterItemTag: 18,
	moveItem: 20,
	deleteItem: 21,
	copyItem: 22,
	storeIncomingBlob: 26,
	createMessage: 27,
	setImapUid: 29,
	createFolder: 58,
} as const;

/**
 * The fields of each operation, by opcode. Written from the deserializeData methods of zm-mailbox,
 * com.zimbra.cs.redolog.op.*, apart from the product's own table, so that each checks the other.
 */
export const layouts: Readonly<Record<number, Layout>> = {
	1: (f) =>
		f.list("transactions", "int", (each) => {
			each.int("time");
			each.int("counter");
		}),
	3: endOf,
	4: endOf,
	6: (f) => {
		f.long("sequence");
		f.text("filename");
	},
	7: (f) => f.text("account"),
	8: none,
	9: (f) => {
		for (const name of ["backupSet", "start", "end"]) f.long(name);
		f.text("label");
	},
	10: (f, at) => {
		if (!at(9)) return;
		f.int("completion");
		if (f.flag("hasTypes")) f.list("types", "int", (each) => each.byte("type"));
		if (!at(10)) return;
		if (f.flag("hasIds")) ids(f);
		if (at(20)) f.flag("skipDelete");
	},
	11: none,
	12: (f, at) => {
		f.int("id");
		if (at(37)) f.text("uuid");
		for (const name of ["name", "query", "types", "sort"]) f.text(name);
		f.int("folder");
		if (at(28)) f.int("flags");
		color(f, at);
	},
	13: (f) => {
		f.int("id");
		for (const name of ["query", "types", "sort"]) f.text(name);
	},
	14: (f, at) => {
		f.int("id");
		f.text("name");
		color(f, at);
	},
	15: (f) => {
		f.int("id");
		f.text("name");
	},
	16: (f, at) => {
		const single = f.int("single");
		f.byte("type");
		color(f, at);
		idsUnless(f, single);
	},
	17: (f, at) => {
		f.int("id");
		f.byte("type");
		if (at(8)) f.flag("deleteFirst");
	},
	18: (f, at) => {
		const single = f.int("single");
		f.byte("type");
		if (at(33)) f.text("tag");
		else f.int("tagId");
		f.flag("tagged");
		constraint(f);
		idsUnless(f, single);
	},
	19: (f, at) => {
		const single = f.int("single");
		f.byte("type");
		f.int("flags");
		if (at(33)) f.texts("tags");
		else f.long("tagBits");
		constraint(f);
		idsUnless(f, single);
	},
	20: (f, at) => {
		const single = f.int("single");
		f.byte("type");
		f.int("folder");
		constraint(f);
		idsUnless(f, single);
		if (at(16)) f.int("uidNext");
	},
	21: (f) => {
		const single = f.int("single");
		f.byte("type");
		constraint(f);
		idsUnless(f, single);
	},
	22: copies,
	23: (f, at) => {
		f.text("path");
		f.byte("attributes");
		f.byte("view");
		f.int("flags");
		color(f, at);
		f.text("url");
		if (at(41)) {
			if (f.flag("hasDate")) f.long("date");
			custom(f);
		}
		f.list("parents", "int", (each) => {
			each.int("id");
			if (at(37)) each.text("uuid");
		});
	},
	24: (f) => {
		f.int("id");
		f.text("path");
		ids(f);
	},
	25: (f) => {
		f.int("id");
		f.flag("subfolders");
	},
	26: (f, at) => {
		f.list("mailboxes", "int", (each) => (at(26) ? each.long("id") : each.int("id")));
		f.text("digest");
		f.text("path");
		f.short("volume");
		f.int("size");
		f.body("data");
	},
	27: message,
	28: (f, at) => {
		f.int("imapId");
		message(f, at);
	},
	29: (f) =>
		f.list("uids", "int", (each) => {
			each.int("id");
			each.int("uid");
		}),
	30: (f, at) => {
		f.int("id");
		f.int("folder");
		f.short("volume");
		if (at(33)) f.texts("tags");
		else f.text("tagIds");
		attributes(f);
		if (at(14)) content(f);
	},
	31: (f, at) => {
		f.int("id");
		if (!at(14)) f.flag("replace");
		attributes(f);
		if (!at(14)) return;
		f.short("volume");
		content(f);
	},
	32: (f, at) => {
		f.int("id");
		f.int("folder");
		f.short("volume");
		f.text("content");
		color(f, at);
		rectangle(f);
	},
	33: (f) => {
		f.int("id");
		f.text("content");
	},
	34: (f) => {
		f.int("id");
		rectangle(f);
	},
	35: mountpoint,
	36: (f) => {
		for (const name of ["id", "component", "flag"]) f.int(name);
		f.flag("add");
	},
	38: (f) => {
		volume(f);
		f.flag("compress");
		f.short("storeType");
		f.text("storeManager");
	},
	39: volume,
	40: (f) => f.short("id"),
	41: (f) => {
		f.short("type");
		f.short("id");
	},
	45: none,
	46: (f) => {
		f.text("section");
		f.text("config");
	},
	47: (f, at) => {
		f.int("folder");
		f.text("grantee");
		f.byte("granteeType");
		f.short("rights");
		f.flag("inherit");
		if (at(2)) f.text("password");
		if (at(36)) f.long("expiry");
	},
	48: (f, at) => {
		f.int("folder");
		f.text("grantee");
		if (at(39)) f.flag("dueToExpiry");
	},
	49: (f) => {
		f.int("folder");
		f.text("url");
	},
	50: (f) => {
		f.int("folder");
		f.long("lastDate");
		f.text("lastGuid");
	},
	51: (f) => {
		f.int("folder");
		f.text("acl");
	},
	52: (f, at) => {
		f.text("wikiword");
		savedDocument(f, at);
	},
	53: savedDocument,
	54: (f, at) => {
		f.int("document");
		savedDocument(f, at);
	},
	55: none,
	56: (f, at) => {
		f.byte("type");
		f.int("folder");
		f.short("volume");
		f.list("copies", "int", (each) => {
			each.int("source");
			each.int("target");
			each.int("unused");
			if (at(37)) each.text("uuid");
		});
	},
	58: (f, at) => {
		f.text("name");
		f.int("parent");
		if (at(19)) f.byte("attributes");
		f.byte("view");
		f.int("flags");
		color(f, at);
		f.text("url");
		f.int("id");
		if (at(37)) f.text("uuid");
		if (at(39) && f.flag("hasDate")) {
			if (at(40)) f.long("date");
			else f.int("date");
		}
		if (at(41)) custom(f);
	},
	59: (f) => {
		f.int("id");
		f.int("folder");
		f.text("name");
	},
	61: renamedItem,
	62: renamedPath,
	63: message,
	64: (f, at) => {
		f.int("imapId");
		message(f, at);
	},
	65: none,
	66: (f) => {
		f.int("id");
		f.long("at");
	},
	67: theId,
	69: (f, at) => {
		f.text("newName");
		if (at(25)) f.text("oldName");
	},
	71: (f) => {
		f.int("id");
		f.byte("type");
		f.long("date");
	},
	72: (f) => {
		f.int("folder");
		f.byte("view");
	},
	73: (f) => {
		f.int("id");
		f.byte("type");
		custom(f);
	},
	74: lock,
	75: lock,
	76: (f) => {
		f.int("id");
		f.int("revision");
		f.flag("older");
	},
	77: ids,
	78: theId,
	79: copies,
	80: (f) => {
		f.int("mountpoint");
		f.flag("enabled");
	},
	83: (f) => {
		f.int("id");
		f.long("until");
	},
	84: (f, at) => {
		f.int("item");
		if (at(37)) f.text("uuid");
		f.int("parent");
		f.text("creator");
		f.text("text");
	},
	85: (f, at) => {
		f.int("id");
		if (at(37)) f.text("uuid");
		f.text("name");
		f.text("owner");
		f.int("remote");
		f.int("folder");
	},
	86: (f) => {
		f.byte("type");
		f.int("id");
		policies("keep", f);
		policies("purge", f);
	},
	89: (f) => {
		f.int("id");
		f.text("owner");
		f.int("remote");
	},
	92: (f) => {
		f.int("folder");
		f.int("days");
	},
	93: (f) => f.text("section"),
	95: (f) => {
		f.int("id");
		f.byte("type");
		f.text("uid");
	},
};

/** Numbers that Zimbra knows but for which its reader finds no class: bad bytes to it, not its death. */
export const opcodesWithoutClass: ReadonlySet<number> = new Set([42, 81, 82, 87, 88, 90, 91, 94]);
