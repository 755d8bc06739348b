/** What the database holds of mailboxes. */

export type MailboxRow = {
	readonly accountId: string;
	readonly lastItem: number;
	readonly lastChange: number;
};

export const itemType = { folder: 1, tag: 3, conversation: 4, message: 5 } as const;

export type ItemRow = {
	readonly type: number;
	/** the folder it is in */
	readonly folder: number;
	/** `\Unread`, `\Flagged`, …, sorted */
	readonly tags: readonly string[];
	readonly change: number;
	readonly name?: string;
	readonly conversation?: number;
	readonly size?: number;
	readonly digest?: string;
	/** relative to zimbra_home */
	readonly blob?: string;
	readonly imapId?: number;
};

export const mailboxTable = "mailbox";
export const itemTable = (mailbox: number): string => `mail_item/${mailbox}`;

/** Folders that each mailbox has from its beginning. */
export const systemFolders: Readonly<Record<number, string>> = {
	1: "USER_ROOT",
	2: "Inbox",
	3: "Trash",
	4: "Junk",
	5: "Sent",
	6: "Drafts",
	7: "Contacts",
};
/** Ids below belong to the system. */
export const firstUserId = 256;
export const unreadFlag = 0x200;
