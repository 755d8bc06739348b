import { Buffer } from "node:buffer";
import { createHash, randomUUID } from "node:crypto";
import type { Values } from "../redo/fields.ts";
import { bodyType } from "../redo/layout-parts.ts";
import { op } from "../redo/layouts.ts";
import {
	allMailboxes,
	latestMinor,
	type RedoRecord,
	type TransactionId,
	transactionName,
} from "../redo/record.ts";
import type { RedoLog } from "../redo/redo-log.ts";
import type { Account, Directory } from "../store/accounts.ts";
import type { Blobs } from "../store/blobs.ts";
import type { Database } from "../store/database.ts";
import type { Executor } from "../store/executor.ts";
import { itemType, type MailboxRow, mailboxTable, unreadFlag } from "../store/mailbox-rows.ts";
import { arm, type CrashPoint, die } from "./crash-points.ts";
import { makeMail } from "./mail-text.ts";
import { executionLine } from "./place.ts";
import type { Committed, DeliverRequest, MailboxRequest } from "./requests.ts";

type Parts = {
	readonly database: Database;
	readonly directory: Directory;
	readonly blobs: Blobs;
	readonly executor: Executor;
	readonly redoLog: RedoLog;
};

type Loaded = { readonly id: number; nextItem: number; nextChange: number; tail: Promise<unknown> };
type Ending = { readonly hold?: string | undefined; readonly abort?: boolean | undefined };

/** The mailboxes of a running mailboxd, and the transactions that change them. */
export class Mailboxes {
	readonly #parts: Parts;
	readonly #byAccount = new Map<string, Promise<Loaded>>();
	readonly #holds = new Map<
		string,
		{ held: PromiseWithResolvers<void>; end: PromiseWithResolvers<boolean> }
	>();
	readonly #accounts = new Map<string, Account>();
	#nextMailbox = 3;
	#working = new Set<Promise<unknown>>();
	#blobCounter = 0;

	constructor(parts: Parts) {
		this.#parts = parts;
	}

	async load(): Promise<void> {
		for (const [id, row] of await this.#parts.database.scan<MailboxRow>(mailboxTable)) {
			this.#nextMailbox = Math.max(this.#nextMailbox, Number(id) + 1);
			this.#byAccount.set(
				row.accountId,
				Promise.resolve({
					id: Number(id),
					nextItem: nextHundred(row.lastItem), // Mailbox.getLastItemId: gaps after each load
					nextChange: nextHundred(row.lastChange),
					tail: Promise.resolve(),
				}),
			);
		}
	}

	/** Resolves when what a client asked for is done and may be acknowledged. */
	answer(request: MailboxRequest): Promise<unknown> {
		const working = this.#answer(request);
		this.#working.add(working);
		void working.catch(() => {}).finally(() => this.#working.delete(working));
		return working;
	}

	async idle(): Promise<void> {
		for (const { end } of this.#holds.values()) end.resolve(false);
		await Promise.allSettled(this.#working);
	}

	async #answer(request: MailboxRequest): Promise<unknown> {
		switch (request.do) {
			case "deliver":
				return await this.#deliver(request);
			case "createFolder":
				return await this.#createFolder(request.mailbox, request.name, request.parent ?? 1);
			case "copy":
				return await this.#copy(request.mailbox, request.items, request.folder);
			case "item":
				return await this.#onItems(request.mailbox, request.opcode, request.fields);
			case "rollover":
				return await this.#parts.redoLog.rollover(true);
			case "position":
				return { sequence: this.#parts.redoLog.sequence, offset: this.#parts.redoLog.size };
			case "held":
				return await this.#hold(request.hold).held.promise;
			case "release":
				return this.#hold(request.hold).end.resolve(request.commit);
			case "arm":
				return arm(request.point as CrashPoint | undefined);
		}
	}

	/** Mail by LMTP: one recipient's message is logged with its body, more share one blob record. */
	async #deliver(request: DeliverRequest): Promise<Committed[]> {
		const data =
			request.text === undefined ? makeMail(request.size ?? 1000) : Buffer.from(request.text);
		const committed: Committed[] = [];
		const targets = [];
		for (const mail of request.to) targets.push(await this.#open(mail, committed));
		const digest = createHash("sha256").update(data).digest("base64").replaceAll("/", ",");
		if (targets.length === 1) {
			const fields = { path: ":streamed:", shared: false, bodyType: bodyType.inline, data };
			const [mailbox] = targets;
			if (mailbox !== undefined)
				committed.push(await this.#addMessage(mailbox, request, digest, data.length, fields));
			return committed;
		}
		const { executor, redoLog, blobs } = this.#parts;
		const first = redoLog.newTransaction(); // the first recipient's begins before the blob's
		const path = blobs.incoming(`${Date.now()}-${++this.#blobCounter}.msg`, data);
		executor.register(path, path);
		const blob = this.#record(op.storeIncomingBlob, allMailboxes, -1, {
			mailboxes: targets.map(({ id }) => ({ id })),
			digest,
			path,
			volume: -1,
			size: data.length,
			data,
		});
		await redoLog.change(blob);
		await redoLog.commit(blob);
		committed.push(committedBy(blob, undefined));
		const fields = { path, shared: true, bodyType: bodyType.link, linkVolume: -1 };
		for (const [i, mailbox] of targets.entries()) {
			if (request.rolloverBefore === i) await redoLog.rollover(true);
			committed.push(
				await this.#addMessage(
					mailbox,
					request,
					digest,
					data.length,
					fields,
					i === 0 ? first : undefined,
				),
			);
		}
		blobs.remove(path);
		return committed;
	}

	#addMessage(
		mailbox: Loaded,
		request: DeliverRequest,
		digest: string,
		size: number,
		own: Values,
		transaction?: TransactionId,
	): Promise<Committed> {
		return this.#transact(
			mailbox,
			op.createMessage,
			() => {
				const id = mailbox.nextItem++;
				const conversation =
					request.conversation === "new" ? mailbox.nextItem++ : (request.conversation ?? -1);
				return {
					recipient: request.to[0] ?? "",
					received: Date.now(),
					digest,
					size,
					id,
					folder: request.folder ?? 2,
					conversation,
					conversationFirst: -1,
					merged: [],
					calendarItem: 0,
					partStat: "NE",
					flags: unreadFlag,
					noICal: false,
					tags: [],
					volume: -1,
					customKey: null,
					...own,
				};
			},
			request,
			transaction,
		);
	}

	async #createFolder(mail: string, name: string, parent: number): Promise<Committed> {
		const mailbox = await this.#open(mail, []);
		return await this.#transact(mailbox, op.createFolder, () => ({
			name,
			parent,
			attributes: 0,
			view: itemType.message,
			flags: 0,
			color: 0,
			url: "",
			id: mailbox.nextItem++,
			uuid: randomUUID(),
			hasDate: false,
			customKey: null,
		}));
	}

	async #copy(mail: string, items: readonly number[], folder: number): Promise<Committed> {
		const mailbox = await this.#open(mail, []);
		return await this.#transact(mailbox, op.copyItem, () => ({
			oldSource: -1,
			oldTarget: -1,
			type: itemType.message,
			folder,
			volume: -1,
			copies: items.map((source) => ({ source, target: mailbox.nextItem++, uuid: randomUUID() })),
			fromDumpster: false,
		}));
	}

	async #onItems(mail: string, opcode: number, fields: Values): Promise<Committed> {
		const mailbox = await this.#open(mail, []);
		const uidNext = opcode === op.moveItem ? { uidNext: mailbox.nextItem } : {};
		return await this.#transact(mailbox, opcode, () => ({ ...fields, ...uidNext }));
	}

	/**
	 * Mailbox.endTransaction: the change record is on disk, then the database commits, then the commit
	 * record is written, then the client has its answer. One at a time for each mailbox.
	 */
	#transact(
		mailbox: Loaded,
		opcode: number,
		fields: () => Values,
		{ hold, abort }: Ending = {},
		transaction?: TransactionId,
	): Promise<Committed> {
		const work = mailbox.tail.then(async () => {
			const { executor, redoLog, database } = this.#parts;
			const record = this.#record(opcode, mailbox.id, mailbox.nextChange++, fields(), transaction);
			const change = await executor.prepare(record);
			await redoLog.change(record);
			die("change");
			let commits = abort !== true;
			if (hold !== undefined) {
				this.#hold(hold).held.resolve();
				commits = await this.#hold(hold).end.promise;
				this.#holds.delete(hold);
			}
			if (!commits) {
				change.undo();
				await redoLog.abort(record);
				return { ...committedBy(record, itemOf(record)), aborted: true };
			}
			const done = committedBy(record, itemOf(record));
			await database.commit(change.writes, executionLine("mailboxd", done, "ok"));
			die("database");
			await redoLog.commit(record);
			die("commit");
			change.finish?.();
			return done;
		});
		mailbox.tail = work.catch(() => {});
		return work;
	}

	#record(
		opcode: number,
		mailboxId: number,
		changeId: number,
		fields: Values,
		transaction?: TransactionId,
	): RedoRecord {
		return {
			opcode,
			minor: latestMinor,
			time: Date.now(),
			changeId,
			changeConstraint: 0,
			transaction: transaction ?? this.#parts.redoLog.newTransaction(),
			mailboxId,
			fields,
		};
	}

	/** The mailbox of an address; made, in a transaction of its own, when its first mail comes. */
	async #open(mail: string, committed: Committed[]): Promise<Loaded> {
		const account = this.#accounts.get(mail) ?? (await this.#parts.directory.accountByMail(mail));
		if (account === undefined) throw new Error(`no such account: ${mail}`);
		this.#accounts.set(mail, account); // Zimbra keeps accounts too
		const known = this.#byAccount.get(account.id);
		if (known !== undefined) return await known;
		const making = this.#createMailbox(account.id, committed);
		this.#byAccount.set(account.id, making);
		making.catch(() => this.#byAccount.delete(account.id));
		return await making;
	}

	async #createMailbox(account: string, committed: Committed[]): Promise<Loaded> {
		const id = this.#nextMailbox++;
		const loaded = { id, nextItem: 257, nextChange: 101, tail: Promise.resolve() };
		committed.push(await this.#transact(loaded, op.createMailbox, () => ({ account })));
		return loaded;
	}

	#hold(name: string) {
		const known = this.#holds.get(name);
		if (known !== undefined) return known;
		const made = {
			held: Promise.withResolvers<void>(),
			end: Promise.withResolvers<boolean>(),
		};
		this.#holds.set(name, made);
		return made;
	}
}

const nextHundred = (id: number): number => (Math.floor(id / 100) + 1) * 100;

function itemOf({ fields }: RedoRecord): number | undefined {
	const copies = fields["copies"] as { target: number }[] | undefined;
	return copies?.[0]?.target ?? (fields["id"] as number | undefined);
}

const committedBy = (record: RedoRecord, item: number | undefined): Committed => ({
	transaction: transactionName(record.transaction),
	opcode: record.opcode,
	mailboxId: record.mailboxId,
	...(item === undefined ? {} : { item }),
});
