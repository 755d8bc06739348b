/**
 * What follows the common part of a record, for each operation. A record has no length: it ends
 * where its fields end, so that this table is all there is to find the next one.
 *
 * Source: zm-mailbox, com.zimbra.cs.mailbox.MailboxOperation (numbers) and the deserializeData and
 * serializeData methods of com.zimbra.cs.redolog.op, from 8.7.6 to 10.1. Version 1.42 is the newest
 * there and in Carbonio; the branches for versions before 1.26 are as those methods have them.
 */
import {
	before,
	body,
	bool,
	data,
	i8,
	i16,
	i32,
	i64,
	keyed,
	list,
	listOfAtMost,
	opaqueList,
	optional,
	since,
	text,
} from "./fields.ts";
import {
	accessRevoked,
	attributes,
	bounds,
	color,
	constraint,
	copy,
	document,
	either,
	fileSharedWithMe,
	ids,
	invite,
	link,
	message,
	mountpoint,
	noClass,
	type Operation,
	operation,
	policies,
	tagMask,
	tags,
	uuid,
	volume,
} from "./layout-parts.ts";

export const checkpoint = 1;
export const commitTxn = 3;
export const abortTxn = 4;
export const createMailbox = 7;
export const storeIncomingBlob = 26;

/** The newest record version whose layouts are known; Zimbra's reader refuses newer ones as well. */
export const newestVersion = { major: 1, minor: 42 };

/**
 * Of a header or a record. Zimbra X writes 1.43, in which numbers from 94 on mean other operations.
 * Source: zm-mailbox, com.zimbra.cs.redolog.Version and mailbox.MailboxOperation at the tags 2.x.
 */
export const isKnown = ({ major, minor }: { major: number; minor: number }): boolean =>
	major === newestVersion.major && minor <= newestVersion.minor;

/** By opcode. A number that is not here is not in Zimbra's list: its reader drops the rest of the file. */
export const operations: ReadonlyMap<number, Operation> = new Map<number, Operation>([
	[checkpoint, operation("Checkpoint", list("active", i32("time"), i32("counter")))],
	[commitTxn, operation("CommitTxn", i32("opcode"))],
	[abortTxn, operation("AbortTxn", i32("opcode"))],
	[6, operation("Rollover", i64("sequence"), text("file"))],
	[createMailbox, operation("CreateMailbox", text("account"))],
	[8, operation("DeleteMailbox")],
	[9, operation("BackupMailbox", i64("backup"), i64("start"), i64("end"), text("label"))],
	[
		10,
		operation(
			"ReindexMailbox",
			since(9, i32("completion")),
			since(9, optional("types", list("types", i8("type")))),
			since(10, optional("ids", list("ids", i32("id")))),
			since(20, bool("skipDelete")),
		),
	],
	[11, operation("PurgeOldMessages")],
	[
		12,
		operation(
			"CreateSavedSearch",
			i32("id"),
			uuid,
			text("name"),
			text("query"),
			text("types"),
			text("sort"),
			i32("folder"),
			since(28, i32("flags")),
			...color,
		),
	],
	[13, operation("ModifySavedSearch", i32("id"), text("query"), text("types"), text("sort"))],
	[14, operation("CreateTag", i32("id"), text("name"), ...color)],
	[15, operation("RenameTag", i32("id"), text("name"))],
	[16, operation("ColorItem", i32("id"), i8("type"), ...color, ids)],
	[17, operation("IndexItem", i32("id"), i8("type"), since(8, bool("deleteFirst")))],
	[
		18,
		operation(
			"AlterItemTag",
			i32("id"),
			i8("type"),
			before(33, i32("tagId")),
			since(33, text("tag")),
			bool("tagged"),
			constraint,
			ids,
		),
	],
	[19, operation("SetItemTags", i32("id"), i8("type"), i32("flags"), ...tagMask, constraint, ids)],
	[
		20,
		operation(
			"MoveItem",
			i32("id"),
			i8("type"),
			i32("folder"),
			constraint,
			ids,
			since(16, i32("uidNext")),
		),
	],
	[21, operation("DeleteItem", i32("id"), i8("type"), constraint, ids)],
	[22, operation("CopyItem", ...copy)],
	[
		23,
		operation(
			"CreateFolderPath",
			text("path"),
			i8("attributes"),
			i8("view"),
			i32("flags"),
			...color,
			text("url"),
			since(41, optional("date", i64("date"))),
			since(41, keyed("custom")),
			list("folders", i32("id"), uuid),
		),
	],
	[24, operation("RenameFolderPath", i32("id"), text("path"), list("parents", i32("id")))],
	[25, operation("EmptyFolder", i32("id"), bool("subfolders"))],
	[
		storeIncomingBlob,
		operation(
			"StoreIncomingBlob",
			since(0, before(26, listOfAtMost("mailboxes", 1_000_000, i32("id")))),
			since(26, listOfAtMost("mailboxes", 1_000_000, i64("id"))),
			text("digest"),
			text("path"),
			i16("volume"),
			i32("size"),
			body("body"),
		),
	],
	[27, operation("CreateMessage", ...message)],
	[28, operation("SaveDraft", i32("imapId"), ...message)],
	[29, operation("SetImapUid", list("uids", i32("id"), i32("uid")))],
	[
		30,
		operation(
			"CreateContact",
			i32("id"),
			i32("folder"),
			i16("volume"),
			...tags,
			attributes,
			since(14, data("attachments")),
		),
	],
	[
		31,
		operation(
			"ModifyContact",
			i32("id"),
			before(14, bool("replace")),
			attributes,
			since(14, i16("volume")),
			since(14, data("attachments")),
		),
	],
	[
		32,
		operation(
			"CreateNote",
			i32("id"),
			i32("folder"),
			i16("volume"),
			text("content"),
			...color,
			...bounds,
		),
	],
	[33, operation("EditNote", i32("id"), text("content"))],
	[34, operation("RepositionNote", i32("id"), ...bounds)],
	[35, either("CreateMountpoint", link, mountpoint, fileSharedWithMe)],
	[36, operation("ModifyInviteFlag", i32("id"), i32("component"), i32("flag"), bool("add"))],
	[
		37,
		operation(
			"ModifyInvitePartStat",
			i32("id"),
			optional("recurrence", i32("range"), text("date")),
			text("commonName"),
			text("address"),
			text("userType"),
			text("role"),
			text("partStat"),
			bool("rsvp"),
			i32("sequence"),
			i64("stamp"),
		),
	],
	[
		38,
		// Zimbra 10 added two fields and left the version at 1.42.
		either(
			"CreateVolume",
			{ fields: [...volume, bool("compress")] },
			{ fields: [...volume, bool("compress"), i16("storeType"), text("storeManager")] },
		),
	],
	[
		39,
		// The store type is in development branches only.
		either("ModifyVolume", { fields: volume }, { fields: [...volume, i16("storeType")] }),
	],
	[40, operation("DeleteVolume", i16("id"))],
	[41, operation("SetCurrentVolume", i16("type"), i16("id"))],
	[42, noClass("MoveBlobs")],
	[
		43,
		operation(
			"CreateInvite",
			i32("id"),
			since(1, text("partStat")),
			i32("folder"),
			since(0, i16("volume")),
			bool("force"),
			data("message"),
			text("timeZone"),
			text("invite"),
			since(22, bool("preserveAlarms")),
			since(22, bool("discardInvites")),
			since(23, bool("addRevision")),
		),
	],
	[
		44,
		operation(
			"SetCalendarItem",
			i32("folder"),
			since(0, i16("volume")),
			i32("id"),
			since(1, text("partStat")),
			since(2, bool("indexAttachments")),
			since(11, i32("flags")),
			...tagMask.map((field) => ({ since: 11, ...field })),
			...invite.map((field) => before(17, field)),
			since(17, optional("default", ...invite)),
			list("exceptions", ...invite),
			since(15, list("replies", text("reply"))),
			since(21, i64("nextAlarm")),
		),
	],
	[45, operation("TrackSync")],
	[46, operation("SetConfig", text("section"), text("config"))],
	[
		47,
		operation(
			"GrantAccess",
			i32("folder"),
			text("grantee"),
			i8("granteeType"),
			i16("rights"),
			bool("inherit"),
			since(2, text("password")),
			since(36, i64("expiry")),
		),
	],
	[48, operation("RevokeAccess", ...accessRevoked)],
	[49, operation("SetFolderUrl", i32("folder"), text("url"))],
	[50, operation("SetSubscriptionData", i32("folder"), i64("lastDate"), text("lastGuid"))],
	[51, operation("SetPermissions", i32("folder"), text("acl"))],
	[52, operation("SaveWiki", text("word"), ...document)],
	[53, operation("SaveDocument", ...document)],
	[54, operation("AddDocumentRevision", i32("document"), ...document)],
	[55, operation("TrackImap")],
	[
		56,
		operation(
			"ImapCopyItem",
			i8("type"),
			i32("folder"),
			i16("volume"),
			list("items", i32("from"), i32("to"), i32("unused"), uuid),
		),
	],
	[57, operation("ICalReply", text("timeZone"), text("invite"), text("sender"))],
	[
		58,
		operation(
			"CreateFolder",
			text("name"),
			i32("parent"),
			since(19, i8("attributes")),
			i8("view"),
			i32("flags"),
			...color,
			text("url"),
			i32("id"),
			uuid,
			since(39, before(40, optional("date", i32("date")))),
			since(40, optional("date", i64("date"))),
			since(41, keyed("custom")),
		),
	],
	[59, operation("RenameFolder", i32("id"), i32("parent"), text("name"))],
	[60, operation("FixCalendarItemTimeZone", i32("id"), i64("after"), text("country"))],
	[
		61,
		operation(
			"RenameItem",
			i32("id"),
			i32("folder"),
			text("name"),
			i8("type"),
			since(40, optional("date", i64("date"))),
		),
	],
	[
		62,
		operation(
			"RenameItemPath",
			i32("id"),
			text("path"),
			list("parents", i32("id"), uuid),
			i8("type"),
		),
	],
	[63, operation("CreateChat", ...message)],
	[64, operation("SaveChat", i32("imapId"), ...message)],
	[65, operation("PurgeImapDeleted")],
	[66, operation("DismissCalendarItemAlarm", i32("id"), i64("dismissedAt"))],
	[67, operation("FixCalendarItemEndTime", i32("id"))],
	// all ids, then all types
	[68, operation("IndexDeferredItems", opaqueList("items", 5))],
	[69, operation("RenameMailbox", text("newName"), since(25, text("oldName")))],
	[70, operation("FixCalendarItemTZ", i32("id"), list("zones", text("id"), text("zone")))],
	[71, operation("DateItem", i32("id"), i8("type"), i64("date"))],
	[72, operation("SetFolderDefaultView", i32("folder"), i8("view"))],
	[73, operation("SetCustomData", i32("id"), i8("type"), text("section"), text("custom"))],
	[74, operation("LockItem", i8("type"), text("account"), i32("id"))],
	[75, operation("UnlockItem", i8("type"), text("account"), i32("id"))],
	[76, operation("PurgeRevision", i32("id"), i32("revision"), bool("older"))],
	[77, operation("DeleteItemFromDumpster", list("ids", i32("id")))],
	[78, operation("FixCalendarItemPriority", i32("id"))],
	[79, operation("RecoverItem", ...copy)],
	[80, operation("EnableSharedReminder", i32("mountpoint"), bool("enabled"))],
	[81, noClass("Download")],
	[82, noClass("Preview")],
	[83, operation("SnoozeCalendarItemAlarm", i32("id"), i64("until"))],
	[84, operation("CreateComment", i32("id"), uuid, i32("parent"), text("creator"), text("text"))],
	// CreateLink's own number; the class logs itself as 35, but reads itself from here
	[85, operation("CreateLink", ...link.fields)],
	[
		86,
		// Carbonio writes no list of policies to keep since 4.12, and left the version at 1.42.
		either(
			"SetRetentionPolicy",
			{ fields: [i8("type"), i32("id"), list("purge", ...policies)] },
			{ fields: [i8("type"), i32("id"), list("keep", ...policies), list("purge", ...policies)] },
		),
	],
	[87, noClass("Watch")],
	[88, noClass("Unwatch")],
	[89, operation("RefreshMountpoint", i32("id"), text("owner"), i32("remoteId"))],
	// RevokeAccess logs itself so when a share expires
	[90, noClass("ExpireAccess", { fields: accessRevoked })],
	// the class is named SetActiveSyncDisabled, the number SetDisableActiveSync
	[91, noClass("SetDisableActiveSync", { fields: [i32("folder"), bool("disabled")] })],
	[92, operation("SetWebOfflineSyncDays", i32("folder"), i32("days"))],
	[93, operation("DeleteConfig", text("section"))],
	[94, noClass("View")],
	[95, operation("SetPop3Uid", i32("id"), i8("type"), text("uid"))],
]);

/** The name of an operation, also of one that nobody knows. */
export const operationName = (opcode: number): string =>
	operations.get(opcode)?.name ?? `operation ${opcode}`;
