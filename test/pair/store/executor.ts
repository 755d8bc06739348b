import type { Buffer } from "node:buffer";
import { existsSync } from "node:fs";
import { numberIn, textIn } from "../redo/fields.ts";
import { bodyType } from "../redo/layout-parts.ts";
import { op } from "../redo/layouts.ts";
import type { RedoRecord } from "../redo/record.ts";
import type { Directory } from "./accounts.ts";
import { Blobs } from "./blobs.ts";
import type { Database } from "./database.ts";
import {
	firstUserId,
	type ItemRow,
	itemTable,
	itemType,
	type MailboxRow,
	mailboxTable,
	systemFolders,
	unreadFlag,
} from "./mailbox-rows.ts";
import type { Write } from "./tables.ts";

/** An operation that did nothing because it had been done: no failure to Zimbra. */
export class AlreadyDone extends Error {}

/** CreateMailbox found another mailbox for the account: the player maps the one to the other. */
export class MailboxIdConflict extends Error {
	readonly expected: number;
	readonly found: number;

	constructor(accountId: string, expected: number, found: number) {
		super(`account ${accountId} has mailbox ${found}, not ${expected}`);
		this.expected = expected;
		this.found = found;
	}
}

/** What an operation is about to do. */
export type Change = {
	readonly writes: readonly Write[];
	/** takes back the files that are there already, at a rollback */
	undo(): void;
	/** removes files, once the rows are gone */
	finish?(): void;
};

const nothing: Change = { writes: [], undo: () => {} };

/**
 * Carries operations out on the store, for mailboxd, its recovery and zmplayredo alike, with the
 * effects that were measured with Zimbra's own mailbox code, the harmful ones of a second execution
 * included. Files are there before the database knows of them, as in Zimbra.
 */
export class Executor {
	readonly #database: Database;
	readonly #directory: Directory;
	readonly #blobs: Blobs;
	/** StoreIncomingBlob's map from path to file: it lives as long as the process, no longer */
	readonly #incoming = new Map<string, string>();
	#counter = 0;

	constructor(database: Database, directory: Directory, blobs: Blobs) {
		this.#database = database;
		this.#directory = directory;
		this.#blobs = blobs;
	}

	/** Makes the files and says what to write. Throws where Zimbra's redo() throws. */
	async prepare(record: RedoRecord): Promise<Change> {
		if (record.opcode === op.storeIncomingBlob) return this.#storeIncoming(record);
		if (record.opcode === op.createMailbox) return await this.#createMailbox(record);
		if (record.mailboxId <= 0) return nothing; // volumes and the like: nothing here to change
		const mailbox = await this.mailbox(record.mailboxId);
		const change = await this.#inMailbox(record);
		const lastItem = Math.max(mailbox.lastItem, ...itemsOf(change.writes));
		const lastChange = Math.max(mailbox.lastChange, record.changeId);
		const row: MailboxRow = { ...mailbox, lastItem, lastChange };
		return { ...change, writes: [...change.writes, [mailboxTable, key(record.mailboxId), row]] };
	}

	/** {@link prepare} and commit, as replay does it; `journal` tells of it if it succeeds. */
	async execute(record: RedoRecord, journal: string): Promise<void> {
		const change = await this.prepare(record);
		await this.#database.commit(change.writes, journal);
		change.finish?.();
	}

	/** Known by path to later links; the live server has the file already. */
	register(path: string, file: string): void {
		this.#incoming.set(path, file);
	}

	async mailbox(id: number): Promise<MailboxRow> {
		const row = await this.#database.get<MailboxRow>(mailboxTable, key(id));
		if (row === null) throw new Error(`no such mailbox: ${id}`);
		return row;
	}

	#storeIncoming({ fields }: RedoRecord): Change {
		const path = textIn(fields, "path");
		const name = `replay-${process.pid}-${++this.#counter}.msg`;
		this.register(path, this.#blobs.incoming(name, fields["data"] as Buffer));
		return nothing;
	}

	/** CreateMailbox.redo: the account must be in LDAP. */
	async #createMailbox({ mailboxId, fields, changeId }: RedoRecord): Promise<Change> {
		const accountId = textIn(fields, "account");
		const mailboxes = await this.#database.scan<MailboxRow>(mailboxTable);
		const found = mailboxes.find(([, row]) => row.accountId === accountId);
		if (found !== undefined) {
			if (Number(found[0]) !== mailboxId)
				throw new MailboxIdConflict(accountId, mailboxId, Number(found[0]));
			throw new AlreadyDone(`Mailbox ${mailboxId} for account ${accountId} already exists`);
		}
		if ((await this.#directory.accountById(accountId)) === undefined)
			throw new Error(`Account ${accountId} does not exist`);
		if (mailboxes.some(([id]) => Number(id) === mailboxId))
			throw new Error(
				`unable to create mailbox for accountId ${accountId}: id ${mailboxId} is taken`,
			);
		const row: MailboxRow = { accountId, lastItem: firstUserId, lastChange: changeId };
		const folders = Object.entries(systemFolders).map(([id, name]): Write => {
			const folder: ItemRow = {
				type: itemType.folder,
				folder: 1,
				tags: [],
				change: changeId,
				name,
			};
			return [itemTable(mailboxId), id, folder];
		});
		return { writes: [[mailboxTable, key(mailboxId), row], ...folders], undo: () => {} };
	}

	async #inMailbox(record: RedoRecord): Promise<Change> {
		switch (record.opcode) {
			case op.createMessage:
				return await this.#createMessage(record);
			case op.createFolder:
				return await this.#createFolder(record);
			case op.copyItem:
				return await this.#copy(record);
			case op.moveItem: {
				const folder = await this.#folder(record, numberIn(record.fields, "folder"));
				return await this.#alter(record, (item) => ({ ...item, folder }));
			}
			case op.alterItemTag:
				return await this.#alter(record, (item) => withTag(item, record));
			case op.setImapUid:
				return await this.#setImapUids(record);
			case op.deleteItem:
				return await this.#delete(record);
			default:
				return nothing; // known to the reader, without effect on messages here
		}
	}

	async #createMessage(record: RedoRecord): Promise<Change> {
		const { mailboxId, fields, changeId } = record;
		const id = numberIn(fields, "id");
		const link = fields["bodyType"] === bodyType.link;
		const path = textIn(fields, "path");
		const source = link ? this.#incoming.get(path) : undefined;
		if (link && (source === undefined || !existsSync(source)))
			throw new Error(`Missing link source blob ${path} (digest=${textIn(fields, "digest")})`);
		const folder = await this.#folder(record, numberIn(fields, "folder"));
		if ((await this.#item(mailboxId, id)) !== null)
			throw new AlreadyDone(`Message ${id} is already in mailbox ${mailboxId}`);
		const blob = Blobs.pathOf(mailboxId, id, changeId);
		const file =
			source ??
			this.#blobs.incoming(`${process.pid}-${++this.#counter}.msg`, fields["data"] as Buffer);
		this.#blobs.link(file, blob);
		if (source === undefined) this.#blobs.remove(file);
		const conversation = numberIn(fields, "conversation");
		const row: ItemRow = {
			type: itemType.message,
			folder,
			tags: numberIn(fields, "flags") & unreadFlag ? ["\\Unread"] : [],
			change: changeId,
			size: numberIn(fields, "size"),
			digest: textIn(fields, "digest"),
			blob,
			...(conversation > 0 ? { conversation } : {}),
		};
		const table = itemTable(mailboxId);
		const writes: Write[] = [[table, key(id), row]];
		if (conversation > 0 && (await this.#item(mailboxId, conversation)) === null) {
			const thread: ItemRow = {
				type: itemType.conversation,
				folder: 9, // Zimbra's CONVERSATIONS
				tags: [],
				change: changeId,
			};
			writes.push([table, key(conversation), thread]);
		}
		return { writes, undo: () => this.#blobs.remove(blob) };
	}

	async #createFolder({ mailboxId, fields, changeId }: RedoRecord): Promise<Change> {
		const [id, name, parent] = [
			numberIn(fields, "id"),
			textIn(fields, "name"),
			numberIn(fields, "parent"),
		];
		const items = await this.#items(mailboxId);
		if (!items.some(([each]) => Number(each) === parent))
			throw new Error(`no such folder id: ${parent}`);
		if (
			items.some(
				([each, row]) =>
					Number(each) === id ||
					(row.type === itemType.folder && row.folder === parent && row.name === name),
			)
		)
			throw new AlreadyDone(`Folder ${name} already exists in mailbox ${mailboxId}`);
		const row: ItemRow = {
			type: itemType.folder,
			folder: parent,
			tags: [],
			change: changeId,
			name,
		};
		return { writes: [[itemTable(mailboxId), key(id), row]], undo: () => {} };
	}

	/**
	 * The file is linked before the row is inserted, and the rollback of a failed insert deletes that
	 * name. Where the copy exists already, its only file is that name: the good copy loses its file.
	 */
	async #copy(record: RedoRecord): Promise<Change> {
		const { mailboxId, fields, changeId } = record;
		const folder = await this.#folder(record, numberIn(fields, "folder"));
		const pairs = fields["copies"] as { source: number; target: number }[];
		const writes: Write[] = [];
		const made: string[] = [];
		const undo = () => {
			for (const each of made) this.#blobs.remove(each);
		};
		try {
			for (const { source, target } of pairs) {
				const item = await this.#item(mailboxId, source);
				if (item === null) throw new Error(`no such item: ${source}`);
				const { blob: original, ...rest } = item;
				const blob = original === undefined ? undefined : Blobs.pathOf(mailboxId, target, changeId);
				if (original !== undefined && blob !== undefined) {
					this.#blobs.link(this.#blobs.absolute(original), blob);
					made.push(blob);
				}
				if ((await this.#item(mailboxId, target)) !== null)
					throw new AlreadyDone(`Item is already in mailbox ${mailboxId}`);
				const row: ItemRow = { ...rest, folder, change: changeId, ...(blob ? { blob } : {}) };
				writes.push([itemTable(mailboxId), key(target), row]);
			}
		} catch (error) {
			undo();
			throw error;
		}
		return { writes, undo };
	}

	/** On a folder or conversation: on whatever is in it at the time of execution. */
	async #alter(record: RedoRecord, alter: (item: ItemRow) => ItemRow): Promise<Change> {
		const targets = await this.#targets(record);
		const table = itemTable(record.mailboxId);
		return {
			writes: targets.map(([id, row]) => [table, id, { ...alter(row), change: record.changeId }]),
			undo: () => {},
		};
	}

	async #setImapUids({ mailboxId, fields, changeId }: RedoRecord): Promise<Change> {
		const writes: Write[] = [];
		for (const { id, uid } of fields["uids"] as { id: number; uid: number }[]) {
			const item = await this.#item(mailboxId, id);
			if (item === null) throw new Error(`no such item: ${id}`);
			writes.push([itemTable(mailboxId), key(id), { ...item, imapId: uid, change: changeId }]);
		}
		return { writes, undo: () => {} };
	}

	/** What is gone already is no failure: DeleteItem.redo. */
	async #delete(record: RedoRecord): Promise<Change> {
		const targets = await this.#targets(record, true);
		const ids = [...targets.map(([id]) => id), ...idsOf(record).map(String)];
		return {
			writes: [...new Set(ids)].map((id) => [itemTable(record.mailboxId), id, null]),
			undo: () => {},
			finish: () => {
				for (const [, { blob }] of targets) if (blob !== undefined) this.#blobs.remove(blob);
			},
		};
	}

	async #targets(record: RedoRecord, missingIsFine = false): Promise<[string, ItemRow][]> {
		const type = numberIn(record.fields, "type");
		const found: [string, ItemRow][] = [];
		for (const id of idsOf(record)) {
			const item = await this.#item(record.mailboxId, id);
			if (item === null && !missingIsFine) throw new Error(`no such item: ${id}`);
			if (item === null) continue;
			if (type !== itemType.folder && type !== itemType.conversation) found.push([key(id), item]);
			else {
				const within = type === itemType.folder ? "folder" : "conversation";
				const items = await this.#items(record.mailboxId);
				found.push(
					...items.filter(([, row]) => row.type === itemType.message && row[within] === id),
				);
			}
		}
		return found;
	}

	async #folder({ mailboxId }: RedoRecord, id: number): Promise<number> {
		const row = await this.#item(mailboxId, id);
		if (row === null || row.type !== itemType.folder) throw new Error(`no such folder id: ${id}`);
		return id;
	}

	#item(mailbox: number, id: number): Promise<ItemRow | null> {
		return this.#database.get<ItemRow>(itemTable(mailbox), key(id));
	}

	#items(mailbox: number): Promise<[string, ItemRow][]> {
		return this.#database.scan<ItemRow>(itemTable(mailbox));
	}
}

const key = (id: number): string => String(id);

const idsOf = ({ fields }: RedoRecord): number[] =>
	((fields["ids"] ?? [{ id: fields["single"] }]) as { id: number }[]).map(({ id }) => id);

const itemsOf = (writes: readonly Write[]): number[] => [0, ...writes.map(([, id]) => Number(id))];

function withTag(item: ItemRow, { fields }: RedoRecord): ItemRow {
	const tag =
		fields["tag"] === undefined ? `tag ${numberIn(fields, "tagId")}` : textIn(fields, "tag");
	const others = item.tags.filter((each) => each !== tag);
	return { ...item, tags: fields["tagged"] === true ? [...others, tag].sort() : others };
}
