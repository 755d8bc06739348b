/**
 * Runs of fields that several operations share, and those that one number has more than one of.
 * Source: as in layouts.ts.
 */
import {
	before,
	body,
	bool,
	content,
	type Field,
	i8,
	i16,
	i32,
	i64,
	keyed,
	list,
	listUnless,
	optional,
	shortList,
	since,
	text,
} from "./fields.ts";
import type { Oddity } from "./record.ts";

export type Layout = {
	readonly fields: readonly Field[];
	/** the class that writes this layout under a number that is another class's */
	readonly writer?: string;
	/** what Zimbra's reader makes of it */
	readonly oddity?: Oddity;
};

/**
 * - `reads`: Zimbra's reader has a class for the number
 * - `no class`: it has a name for the number but no class of that name, so that it passes over the
 *   record by searching for the next mark; the operation is never executed by a replay
 */
export type ReaderSupport = "reads" | "no class";

export type Operation = {
	readonly name: string;
	readonly reader: ReaderSupport;
	/**
	 * One in the plain case. More where differing layouts bear the same number and version: the one
	 * behind which the next record stands is the right one, tried in this order, shortest first.
	 * None: the number is named in Zimbra's list, but nobody public knows the layout.
	 */
	readonly layouts: readonly Layout[];
};

export const color = [before(27, i8("color")), since(27, i64("color"))];
export const uuid = since(37, text("uuid"));
const tagNames = since(33, list("tags", text("tag")));
export const tags = [before(33, text("tagIds")), tagNames];
export const tagMask = [before(33, i64("tagMask")), tagNames];
export const ids = listUnless(["id"], "ids", i32("id"));
export const constraint = optional("constraint", text("constraint"));
export const bounds = [i32("x"), i32("y"), i32("width"), i32("height")];
export const attributes = shortList("attributes", text("key"), text("value"));

export const message: Field[] = [
	text("recipient"),
	since(4, i64("received")),
	bool("shared"),
	text("digest"),
	before(42, i32("size")),
	since(42, i64("size")),
	i32("id"),
	i32("folder"),
	i32("conversation"),
	since(5, i32("conversationFirst")),
	since(32, list("mergedConversations", i32("id"))),
	i32("calendarItem"),
	since(1, text("partStat")),
	i32("flags"),
	bool("noICal"),
	...tags,
	text("path"),
	i16("volume"),
	since(25, keyed("custom")),
	content("body"),
];

export const copy: Field[] = [
	i32("from"),
	i32("to"),
	i8("type"),
	i32("folder"),
	i16("volume"),
	listUnless(["from", "to"], "items", i32("from"), i32("to"), uuid),
	since(30, bool("fromDumpster")),
];

export const document: Field[] = [
	text("name"),
	text("mimeType"),
	text("author"),
	i8("type"),
	since(29, text("description")),
	since(31, bool("descriptionEnabled")),
	uuid,
	...message,
];

export const invite: Field[] = [
	bool("force"),
	text("timeZone"),
	text("invite"),
	before(24, i64("received")),
	before(24, body("message")),
	since(24, optional("message", i64("received"), body("message"))),
];

export const accessRevoked: Field[] = [
	i32("folder"),
	text("grantee"),
	since(39, bool("dueToExpiry")),
];

export const volume: Field[] = [
	i16("id"),
	i16("type"),
	text("name"),
	text("path"),
	i16("mailboxGroupBits"),
	i16("mailboxBits"),
	i16("fileGroupBits"),
	i16("fileBits"),
];

export const policies = [text("id"), text("lifetime")];

/** Logged under the number of CreateMountpoint, which Zimbra's reader then takes them for. */
export const link: Layout = {
	writer: "CreateLink",
	oddity: "misread over its end",
	fields: [i32("id"), uuid, text("name"), text("owner"), i32("remoteId"), i32("folder")],
};

export const mountpoint: Layout = {
	fields: [
		i32("id"),
		uuid,
		text("name"),
		text("owner"),
		i32("remoteId"),
		since(38, text("remoteUuid")),
		i32("folder"),
		i8("view"),
		i32("flags"),
		...color,
		since(33, bool("reminder")),
	],
};

export const fileSharedWithMe: Layout = {
	writer: "CreateFileSharedWithMe",
	oddity: "misread",
	fields: [
		i32("id"),
		text("uuid"),
		text("name"),
		text("owner"),
		i32("remoteId"),
		text("remoteUuid"),
		i32("folder"),
		text("ownerName"),
		text("contentType"),
		text("rights"),
	],
};

export const operation = (name: string, ...fields: Field[]): Operation => ({
	name,
	reader: "reads",
	layouts: [{ fields }],
});

export const either = (name: string, ...layouts: Layout[]): Operation => ({
	name,
	reader: "reads",
	layouts,
});

export const noClass = (name: string, ...layouts: Layout[]): Operation => ({
	name,
	reader: "no class",
	layouts,
});
